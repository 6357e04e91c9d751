// OpenSSL's objects that are read from PEM text, with owners that free them. For this folder's
// sources only.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <limits>
#include <memory>
#include <string>

namespace callforward::smtpclient::pem {

template <auto Free>
struct freed_by {
    template <typename T>
    void operator()(T* object) const {
        Free(object);
    }
};
using bio = std::unique_ptr<BIO, freed_by<BIO_free_all>>;
using x509 = std::unique_ptr<X509, freed_by<X509_free>>;
using private_key = std::unique_ptr<EVP_PKEY, freed_by<EVP_PKEY_free>>;

// The text must outlive it. Nothing: no memory, or more text than OpenSSL counts.
inline bio reader(const std::string& text) {
    if (text.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) return nullptr;
    return bio{BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
}

// For PEM_read_*: none, since nobody is there to type it. OpenSSL would ask at the terminal.
inline int no_passphrase(char* /*into*/, int /*size*/, int /*writing*/, void* /*with*/) {
    return 0;
}

}  // namespace callforward::smtpclient::pem
