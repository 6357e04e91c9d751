// Throw-away certificates, made when a test runs: EC P-256 keys, valid for a day around now unless
// asked otherwise.
//
// A certificate is a value of PEM texts, so that it can be written to files for a daemon under test
// or handed to a server in this process. Nothing here is cached; making one costs well under a
// millisecond of key generation and two signatures. Failure inside OpenSSL throws
// std::runtime_error. None of this is fit for anything but tests.
#pragma once

#include <openssl/ssl.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace callforward::testing {

struct certificate {
    std::string pem;
    std::string key_pem;
    std::string chain_pem;  // issuers a server sends along: intermediates, never the root. Clear it
                            // to forget them

    // Lower-case hexadecimal SHA-256 of the certificate, and of its SubjectPublicKeyInfo (TLSA
    // selectors 0 and 1).
    [[nodiscard]] std::string sha256() const;
    [[nodiscard]] std::string public_key_sha256() const;

    // As bytes, the whole certificate (TLSA selector 0, matching type 0).
    [[nodiscard]] std::vector<unsigned char> der() const;

    // Writes STEM.pem (with the chain) and STEM.key (mode 0600) into the folder.
    void write(const std::filesystem::path& folder, const std::string& stem) const;
};

enum class validity { current, expired, not_yet };

struct certificate_wish {
    std::vector<std::string> dns_names;  // the first is the common name, too
    testing::validity validity = testing::validity::current;
    bool alternative_names = true;  // false: the common name only, as before RFC 6125
    bool client_only = false;       // extended key usage without serverAuth
};

class certificate_authority {
public:
    explicit certificate_authority(const std::string& common_name = "Throw-away CA");

    [[nodiscard]] certificate issue(const certificate_wish& wish) const;
    [[nodiscard]] certificate issue(const std::string& dns_name) const;
    [[nodiscard]] certificate_authority intermediate(const std::string& common_name) const;
    [[nodiscard]] const std::string& pem() const { return own_.pem; }
    [[nodiscard]] const certificate& own() const { return own_; }
    void write(const std::filesystem::path& file) const;  // what a client trusts

private:
    explicit certificate_authority(certificate own) : own_(std::move(own)) {}
    certificate own_;
};

[[nodiscard]] certificate self_signed(const certificate_wish& wish);

struct free_ssl_context {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using ssl_context = std::unique_ptr<SSL_CTX, free_ssl_context>;

// only_version (TLS1_VERSION and so on): nothing else is spoken, whatever the system's policy says.
// 0: OpenSSL's defaults.
[[nodiscard]] ssl_context server_context(const certificate& identity, int only_version = 0);
// A client that trusts the given PEM, or everything when it is "".
[[nodiscard]] ssl_context client_context(const std::string& trusted_pem);

}  // namespace callforward::testing
