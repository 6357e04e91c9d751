// The one compilation of asio's TLS code (ASIO_SEPARATE_COMPILATION).
#include <asio/ssl/impl/src.hpp>
