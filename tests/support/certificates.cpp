#include "tests/support/certificates.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <array>
#include <fstream>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace callforward::testing {

namespace {

template <auto Free>
struct freed_by {
    template <typename T>
    void operator()(T* object) const {
        Free(object);
    }
};
void free_bio(BIO* bio) {
    BIO_free(bio);
}
using x509 = std::unique_ptr<X509, freed_by<X509_free>>;
using private_key = std::unique_ptr<EVP_PKEY, freed_by<EVP_PKEY_free>>;
using memory = std::unique_ptr<BIO, freed_by<free_bio>>;
using extension = std::unique_ptr<X509_EXTENSION, freed_by<X509_EXTENSION_free>>;

[[noreturn]] void fail(std::string_view what) {
    std::array<char, 256> text{};
    ERR_error_string_n(ERR_get_error(), text.data(), text.size());
    throw std::runtime_error(std::string(what) + ": " + text.data());
}
void require(bool condition, std::string_view what) {
    if (!condition) fail(what);
}

memory reader(const std::string& text) {
    return memory{BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
}
std::string text_of(const memory& bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}
x509 parse_certificate(const std::string& pem) {
    x509 parsed{PEM_read_bio_X509(reader(pem).get(), nullptr, nullptr, nullptr)};
    require(parsed != nullptr, "certificate");
    return parsed;
}
private_key parse_key(const std::string& pem) {
    private_key parsed{PEM_read_bio_PrivateKey(reader(pem).get(), nullptr, nullptr, nullptr)};
    require(parsed != nullptr, "private key");
    return parsed;
}

void add_extension(X509* subject, X509* issuer, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, subject, nullptr, nullptr, 0);
    const extension made{X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str())};
    require(made && X509_add_ext(subject, made.get(), -1) == 1, "extension " + value);
}

void set_validity(X509* subject, validity when) {
    constexpr long day = 24L * 60 * 60;
    const long from = when == validity::current ? -day : when == validity::expired ? -3 * day : day;
    X509_gmtime_adj(X509_getm_notBefore(subject), from);
    X509_gmtime_adj(X509_getm_notAfter(subject), from + 2 * day);
}

void set_names(X509* subject, const std::string& common_name) {
    std::array<unsigned char, 8> serial{};
    require(RAND_bytes(serial.data(), serial.size()) == 1, "serial number");
    serial[0] &= 0x7f;  // positive
    const std::unique_ptr<BIGNUM, freed_by<BN_free>> number{
        BN_bin2bn(serial.data(), serial.size(), nullptr)};
    BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(subject));
    require(X509_NAME_add_entry_by_txt(X509_get_subject_name(subject),
                                       "CN",
                                       MBSTRING_UTF8,
                                       // NOLINTNEXTLINE: OpenSSL's type for text
                                       reinterpret_cast<const unsigned char*>(common_name.data()),
                                       static_cast<int>(common_name.size()),
                                       -1,
                                       0) == 1,
            "common name");
}

void add_server_extensions(X509* subject, X509* issuer, const certificate_wish& wish) {
    add_extension(subject, issuer, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(
        subject, issuer, NID_ext_key_usage, wish.client_only ? "clientAuth" : "serverAuth");
    if (!wish.alternative_names) return;
    std::string names;
    for (const auto& name : wish.dns_names) names += (names.empty() ? "DNS:" : ",DNS:") + name;
    add_extension(subject, issuer, NID_subject_alt_name, names);
}

// issuer null: signed by itself.
certificate make(const certificate_wish& wish, bool authority, const certificate* issuer) {
    if (wish.dns_names.empty()) throw std::invalid_argument("a certificate needs a name");
    const private_key key{EVP_EC_gen("P-256")};
    const x509 subject{X509_new()};
    require(key && subject, "key");
    X509_set_version(subject.get(), X509_VERSION_3);
    set_names(subject.get(), wish.dns_names.front());
    set_validity(subject.get(), wish.validity);
    X509_set_pubkey(subject.get(), key.get());
    const x509 signer = issuer != nullptr ? parse_certificate(issuer->pem) : nullptr;
    const private_key signing = issuer != nullptr ? parse_key(issuer->key_pem) : nullptr;
    X509* const by = signer ? signer.get() : subject.get();
    X509_set_issuer_name(subject.get(), X509_get_subject_name(by));
    if (authority) {
        add_extension(subject.get(), by, NID_basic_constraints, "critical,CA:TRUE");
        add_extension(subject.get(), by, NID_key_usage, "critical,keyCertSign,cRLSign");
    } else {
        add_server_extensions(subject.get(), by, wish);
    }
    add_extension(subject.get(), by, NID_subject_key_identifier, "hash");
    add_extension(subject.get(), by, NID_authority_key_identifier, "keyid");
    require(X509_sign(subject.get(), signing ? signing.get() : key.get(), EVP_sha256()) > 0,
            "signature");

    const memory certificate_text{BIO_new(BIO_s_mem())};
    const memory key_text{BIO_new(BIO_s_mem())};
    PEM_write_bio_X509(certificate_text.get(), subject.get());
    PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    certificate made{text_of(certificate_text), text_of(key_text), {}};
    // A self-signed issuer is a root, which clients have (or have not) already.
    if (signer && X509_self_signed(signer.get(), 0) != 1) {
        made.chain_pem = issuer->pem + issuer->chain_pem;
    }
    return made;
}

using digest_function = int (*)(const X509*, const EVP_MD*, unsigned char*, unsigned int*);
std::string hex_digest(const std::string& pem, digest_function digest) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
    unsigned int size = 0;
    require(digest(parse_certificate(pem).get(), EVP_sha256(), bytes.data(), &size) == 1, "digest");
    std::string text;
    for (unsigned int i = 0; i < size; ++i) {
        text += "0123456789abcdef"[bytes.at(i) / 16];
        text += "0123456789abcdef"[bytes.at(i) % 16];
    }
    return text;
}

int public_key_info_digest(const X509* of, const EVP_MD* kind, unsigned char* to, unsigned int* n) {
    unsigned char* der = nullptr;
    const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(of), &der);
    if (size <= 0) return 0;
    const int done = EVP_Digest(der, static_cast<std::size_t>(size), to, n, kind, nullptr);
    OPENSSL_free(der);
    return done;
}

void write_file(const std::filesystem::path& file, const std::string& text) {
    std::ofstream out(file, std::ios::binary | std::ios::trunc);
    out << text;
    out.close();
    if (!out) throw std::runtime_error("can not write " + file.string());
}

}  // namespace

std::string certificate::sha256() const {
    return hex_digest(pem, X509_digest);
}

std::string certificate::public_key_sha256() const {
    return hex_digest(pem, public_key_info_digest);
}

std::vector<unsigned char> certificate::der() const {
    const x509 parsed = parse_certificate(pem);
    unsigned char* bytes = nullptr;
    const int size = i2d_X509(parsed.get(), &bytes);
    require(size > 0, "DER");
    std::vector<unsigned char> all(bytes, bytes + size);
    OPENSSL_free(bytes);
    return all;
}

void certificate::write(const std::filesystem::path& folder, const std::string& stem) const {
    write_file(folder / (stem + ".pem"), pem + chain_pem);
    write_file(folder / (stem + ".key"), key_pem);
    std::filesystem::permissions(
        folder / (stem + ".key"),
        std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

certificate_authority::certificate_authority(const std::string& common_name) {
    certificate_wish wish;
    wish.dns_names = {common_name};
    own_ = make(wish, true, nullptr);
}

certificate certificate_authority::issue(const certificate_wish& wish) const {
    return make(wish, false, &own_);
}

certificate certificate_authority::issue(const std::string& dns_name) const {
    certificate_wish wish;
    wish.dns_names = {dns_name};
    return issue(wish);
}

certificate_authority certificate_authority::intermediate(const std::string& common_name) const {
    certificate_wish wish;
    wish.dns_names = {common_name};
    return certificate_authority(make(wish, true, &own_));
}

void certificate_authority::write(const std::filesystem::path& file) const {
    write_file(file, own_.pem);
}

certificate self_signed(const certificate_wish& wish) {
    return make(wish, false, nullptr);
}

ssl_context server_context(const certificate& identity, int only_version) {
    ssl_context context{SSL_CTX_new(TLS_server_method())};
    require(context != nullptr, "SSL_CTX_new");
    SSL_CTX* const c = context.get();
    if (only_version != 0) {
        // Debian's security level 2 would refuse TLS 1.0 and 1.1 altogether.
        SSL_CTX_set_security_level(c, 0);
        SSL_CTX_set_min_proto_version(c, only_version);
        SSL_CTX_set_max_proto_version(c, only_version);
    }
    require(SSL_CTX_use_certificate(c, parse_certificate(identity.pem).get()) == 1, "certificate");
    require(SSL_CTX_use_PrivateKey(c, parse_key(identity.key_pem).get()) == 1, "private key");
    const memory chain = reader(identity.chain_pem);
    while (x509 next{PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr)}) {
        require(SSL_CTX_add1_chain_cert(c, next.get()) == 1, "chain");
    }
    ERR_clear_error();  // the end of the chain's PEM is an error to OpenSSL
    return context;
}

ssl_context client_context(const std::string& trusted_pem) {
    ssl_context context{SSL_CTX_new(TLS_client_method())};
    require(context != nullptr, "SSL_CTX_new");
    if (trusted_pem.empty()) return context;
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()),
                        parse_certificate(trusted_pem).get());
    return context;
}

}  // namespace callforward::testing
