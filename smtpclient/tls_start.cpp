#include "smtpclient/tls_start.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <string>

namespace callforward::smtpclient {

void load_tls() {
    // A context, not only the library: its algorithms are fetched with it.
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(
        SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
    if (context) return;
    std::array<char, 256> why{};
    ERR_error_string_n(ERR_get_error(), why.data(), why.size());
    throw std::runtime_error("OpenSSL cannot be initialised: " + std::string(why.data()));
}

}  // namespace callforward::smtpclient
