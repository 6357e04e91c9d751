// X.509 certificates in words: what is wrong with one that a next hop showed, and with files of the
// configuration; fingerprints. OpenSSL, without connections.
//
// Names and dates in certificates are a peer's: what comes back is printable and bounded. Every
// function that tells what is wrong gives "" when nothing is.
#pragma once

#include "dns/answer.h"

#include <string>
#include <string_view>

extern "C" {
struct x509_st;
struct ssl_st;
}

namespace callforward::smtpclient {

// SHA-256 as lower-case hexadecimal: of bytes, of a certificate, of its public key
// (SubjectPublicKeyInfo, as in TLSA selector 1).
[[nodiscard]] std::string sha256_of(std::string_view bytes);
[[nodiscard]] std::string fingerprint_of(const x509_st& certificate);
[[nodiscard]] std::string public_key_fingerprint_of(const x509_st& certificate);
[[nodiscard]] std::string with_colons(std::string_view hexadecimal);  // "AB:CD", as openssl shows

// RFC 7672 section 3.1: usages 2 and 3, a selector and a matching type of RFC 6698, and data that
// fit them.
[[nodiscard]] bool is_usable(const dns::tlsa& untrusted);

// Continues a sentence that names the file: "holds no certificate ...".
[[nodiscard]] std::string wrong_with_certificates(const std::string& pem);
// Also when the key is not that of the (first) certificate; where that stands is its setting's
// name.
[[nodiscard]] std::string wrong_with_key(const std::string& key_pem,
                                         const std::string& certificate_pem,
                                         std::string_view where = "tls_cert_file");

// Why the chain that the peer showed was not accepted, after a handshake: "the certificate expired
// on ...". verify_result: OpenSSL's X509_V_ERR_...
[[nodiscard]] std::string why_not_accepted(const ssl_st& after_handshake, long verify_result);

}  // namespace callforward::smtpclient
