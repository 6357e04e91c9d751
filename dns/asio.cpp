// The one compilation of asio's non-template code (ASIO_SEPARATE_COMPILATION).
#include <asio/impl/src.hpp>
