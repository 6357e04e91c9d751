// How connections to a next hop are secured ([policy] tls and the keys after it), as plain values.
//
// The levels are Postfix's (postconf(5), smtp_tls_security_level), and so is what a certificate has
// to match (smtp_tls_verify_cert_match): names in lower-case A-labels, ".example.com" for the
// sub-domains of it, or the strategies "hostname", "nexthop" and "dot-nexthop". Files are held as
// the text that they had when the configuration was read; who reads them checks them
// (smtpclient/certificate.h).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::smtpclient {

enum class tls_level { none, may, encrypt, dane, dane_only, fingerprint, verify, secure };
[[nodiscard]] std::string_view to_string(tls_level level);
[[nodiscard]] std::optional<tls_level> parse_tls_level(std::string_view name);
[[nodiscard]] const std::vector<std::string_view>& tls_level_names();

enum class tls_version { tls1_0, tls1_1, tls1_2, tls1_3 };
[[nodiscard]] std::string_view to_string(tls_version version);  // "1.2"

// A strategy or a name, made canonical; nothing for what is neither. A name has a dot: a word
// without one is a strategy misspelt.
[[nodiscard]] std::optional<std::string> parse_tls_match(std::string_view text);
// SHA-256 as openssl shows it, colons or not; comes back as 64 lower-case digits.
[[nodiscard]] std::optional<std::string> parse_fingerprint(std::string_view text);

class pem_file {
public:
    pem_file() = default;
    pem_file(std::string path, std::string text);

    [[nodiscard]] bool is_given() const { return !path_.empty(); }
    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] const std::string& text() const { return *text_; }  // only when is_given()
    [[nodiscard]] const std::string& digest() const { return digest_; }
    // The same text; wherever it was read from.
    bool operator==(const pem_file& other) const { return digest_ == other.digest_; }

private:
    std::string path_;
    // Shared, because the policy of every domain has a copy.
    std::shared_ptr<const std::string> text_;
    std::string digest_;  // of the text
};

struct tls_policy {
    tls_level level = tls_level::may;
    tls_version least = tls_version::tls1_2;
    std::vector<std::string> match;         // none: what the level has by itself
    std::vector<std::string> fingerprints;  // SHA-256, lower-case hexadecimal
    pem_file authorities;                   // not given: the system's
    pem_file certificate;                   // ours, with what a server needs to verify it
    pem_file key;                           // of it; not given: beside the certificate
    bool mta_sts = false;                   // heed what the domain says by RFC 8461

    bool operator==(const tls_policy&) const = default;
    // All of it on one line: two policies with the same text are the same to a next hop.
    [[nodiscard]] std::string text() const;
    // Whether what is accepted depends on the domain that led to a host.
    [[nodiscard]] bool asks_for_nexthop() const;
    // What the certificate may be issued to, under verify and secure. "" for a name that there is
    // not; none may come of it.
    [[nodiscard]] std::vector<std::string> names_wanted(const std::string& hostname,
                                                        const std::string& nexthop) const;
};

}  // namespace callforward::smtpclient
