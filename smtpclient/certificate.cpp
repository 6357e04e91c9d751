#include "smtpclient/certificate.h"

#include "smtpclient/pem.h"
#include "smtpclient/printable.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <memory>

namespace callforward::smtpclient {

namespace {

constexpr std::size_t longest_name = 100;
constexpr int most_names = 5;

using pem::bio;
using pem::no_passphrase;
using pem::private_key;
using pem::reader;
using pem::x509;
using names = std::unique_ptr<GENERAL_NAMES, pem::freed_by<GENERAL_NAMES_free>>;

std::string hexadecimal(const unsigned char* bytes, std::size_t size) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    text.reserve(2 * size);
    for (std::size_t i = 0; i < size; ++i) {
        text += digits[bytes[i] >> 4U];
        text += digits[bytes[i] & 15U];
    }
    return text;
}

x509 read_certificate(const std::string& text) {
    const bio from = reader(text);
    x509 read{from ? PEM_read_bio_X509(from.get(), nullptr, no_passphrase, nullptr) : nullptr};
    ERR_clear_error();
    return read;
}

std::string text_of(const bio& from) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(from.get(), &data);
    return size > 0
               ? printable(std::string_view(data, static_cast<std::size_t>(size)), longest_name)
               : std::string{};
}

std::string text_of(const X509_NAME* name) {
    const bio out{BIO_new(BIO_s_mem())};
    if (!out || X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB) < 0)
        return "?";
    return text_of(out);
}

std::string text_of(const ASN1_TIME* time) {
    const bio out{BIO_new(BIO_s_mem())};
    if (!out || time == nullptr || ASN1_TIME_print(out.get(), time) != 1) return "?";
    return text_of(out);
}

// What a certificate is issued to: its DNS names, or the common name where it has none.
std::string names_of(const X509* certificate) {
    std::string all;
    int count = 0;
    const names alternative{static_cast<GENERAL_NAMES*>(
        X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr))};
    for (int i = 0; alternative && i < sk_GENERAL_NAME_num(alternative.get()); ++i) {
        const GENERAL_NAME* const each = sk_GENERAL_NAME_value(alternative.get(), i);
        if (each->type != GEN_DNS) continue;
        if (++count > most_names) return all + ", ...";
        const auto* const bytes = ASN1_STRING_get0_data(each->d.dNSName);
        const auto size = static_cast<std::size_t>(ASN1_STRING_length(each->d.dNSName));
        // NOLINTNEXTLINE: OpenSSL's type for text
        const std::string_view untrusted(reinterpret_cast<const char*>(bytes), size);
        all += (all.empty() ? "" : ", ") + printable(untrusted, longest_name);
    }
    return all.empty() ? text_of(X509_get_subject_name(certificate)) : all;
}

std::string outside_its_time(const X509* leaf, bool expired) {
    const ASN1_TIME* const limit = expired ? X509_get0_notAfter(leaf) : X509_get0_notBefore(leaf);
    const int order = X509_cmp_current_time(limit);  // -1: the limit is past
    const std::string what = expired ? " expired on " : " is not valid before ";
    if (order != 0 && (order < 0) == expired) return "the certificate" + what + text_of(limit);
    return std::string("a certificate of its chain ") +
           (expired ? "has expired" : "is not yet valid");
}

std::string unknown_issuer(const X509* leaf, int sent) {
    const std::string issuer = text_of(X509_get_issuer_name(leaf));
    if (sent > 1)
        return "the certificate comes from a CA that is not trusted (issuer " + issuer + ')';
    return "the issuer of the certificate is not known, and no intermediate certificate was sent "
           "with it (issuer " +
           issuer + ')';
}

}  // namespace

std::string sha256_of(std::string_view bytes) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1)
        return {};
    return hexadecimal(digest.data(), size);
}

std::string fingerprint_of(const X509& certificate) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    if (X509_digest(&certificate, EVP_sha256(), digest.data(), &size) != 1) return {};
    return hexadecimal(digest.data(), size);
}

std::string public_key_fingerprint_of(const X509& certificate) {
    unsigned char* der = nullptr;
    const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(&certificate), &der);
    if (size <= 0) return {};
    // NOLINTNEXTLINE: OpenSSL's type for bytes
    const std::string digest =
        sha256_of({reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)});
    OPENSSL_free(der);
    return digest;
}

std::string with_colons(std::string_view hexadecimal_text) {
    std::string text;
    for (std::size_t i = 0; i < hexadecimal_text.size(); ++i) {
        if (i > 0 && i % 2 == 0) text += ':';
        const char c = hexadecimal_text[i];
        text += c >= 'a' && c <= 'f' ? static_cast<char>(c - 'a' + 'A') : c;
    }
    return text;
}

bool is_usable(const dns::tlsa& untrusted) {
    constexpr std::size_t sha256_size = 32;
    constexpr std::size_t sha512_size = 64;
    if (untrusted.usage != 2 && untrusted.usage != 3) return false;
    if (untrusted.selector > 1) return false;
    if (untrusted.matching == 1) return untrusted.data.size() == sha256_size;
    if (untrusted.matching == 2) return untrusted.data.size() == sha512_size;
    if (untrusted.matching != 0 || untrusted.data.empty()) return false;
    const unsigned char* at = untrusted.data.data();
    const auto size = static_cast<long>(untrusted.data.size());
    const auto* const end = at + size;
    bool good = false;
    if (untrusted.selector == 0) {
        const x509 whole{d2i_X509(nullptr, &at, size)};
        good = whole && at == end && X509_get0_pubkey(whole.get()) != nullptr;
    } else {
        const private_key key{d2i_PUBKEY(nullptr, &at, size)};
        good = key && at == end;
    }
    ERR_clear_error();
    return good;
}

std::string wrong_with_certificates(const std::string& pem) {
    return read_certificate(pem) ? "" : "holds no certificate in PEM form (BEGIN CERTIFICATE)";
}

std::string wrong_with_key(const std::string& key_pem,
                           const std::string& certificate_pem,
                           std::string_view where) {
    if (key_pem.find("ENCRYPTED") != std::string::npos)
        return "holds a key with a passphrase, which nobody can type here: remove it "
               "(openssl pkey -in OLD -out NEW)";
    const bio from = reader(key_pem);
    const private_key key{
        from ? PEM_read_bio_PrivateKey(from.get(), nullptr, no_passphrase, nullptr) : nullptr};
    ERR_clear_error();
    if (!key) return "holds no private key in PEM form (BEGIN PRIVATE KEY)";
    const x509 certificate = read_certificate(certificate_pem);
    const bool belongs = certificate && X509_check_private_key(certificate.get(), key.get()) == 1;
    ERR_clear_error();
    if (belongs) return {};
    return "holds the key of another certificate than the one in \"" + std::string(where) + '"';
}

std::string why_not_accepted(const SSL& after_handshake, long verify_result) {
    const X509* const leaf = SSL_get0_peer_certificate(&after_handshake);
    if (leaf == nullptr) return "the next hop showed no certificate";
    const auto* const chain = SSL_get_peer_cert_chain(&after_handshake);
    switch (verify_result) {
        case X509_V_ERR_CERT_HAS_EXPIRED:
        case X509_V_ERR_CERT_NOT_YET_VALID:
            return outside_its_time(leaf, verify_result == X509_V_ERR_CERT_HAS_EXPIRED);
        case X509_V_ERR_HOSTNAME_MISMATCH:
            return "the certificate is for " + names_of(leaf);
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
            return "the certificate is self-signed";
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
            return unknown_issuer(leaf, chain == nullptr ? 1 : sk_X509_num(chain));
        case X509_V_ERR_DANE_NO_MATCH:
            return "the certificate matches no TLSA record";
        case X509_V_ERR_INVALID_PURPOSE:
            return "the certificate is not one of a server";
        default:  // not an enum of ours
            return "the certificate was not accepted: " +
                   printable(X509_verify_cert_error_string(verify_result), longest_name);
    }
}

}  // namespace callforward::smtpclient
