#include "milter/config_tls.h"

#include "milter/bounded_file.h"
#include "milter/config_values.h"
#include "smtpclient/certificate.h"

namespace callforward::milter {

namespace {

using smtpclient::pem_file;
using smtpclient::tls_level;
using smtpclient::tls_policy;

constexpr std::size_t largest_pem_file = std::size_t{4} * 1024 * 1024;

std::string check_match(std::string& text) {
    const auto match = smtpclient::parse_tls_match(text);
    if (!match)
        return quoted(text) +
               " is none of \"hostname\", \"nexthop\", \"dot-nexthop\", \"mx.example.com\", "
               "\".example.com\"";
    text = *match;
    return {};
}

std::string check_fingerprint(std::string& text) {
    const auto digits = smtpclient::parse_fingerprint(text);
    if (!digits)
        return quoted(text) +
               " is no SHA-256 fingerprint: 64 hexadecimal digits, with colons between each two "
               "or without (openssl x509 -noout -fingerprint -sha256 -in FILE)";
    text = *digits;
    return {};
}

template <std::string (*Check)(std::string&)>
void read_words(const setting& from, std::vector<std::string>& into) {
    const auto entries = from.entries([](list_entry& entry) { return Check(entry.text); });
    if (!entries) return;
    into.clear();
    for (const list_entry& entry : *entries) into.push_back(entry.text);
}

// Nothing when the file can not be read; an empty path takes back what [policy] says.
void read_file(const setting& from,
               std::string (*wrong_with)(const std::string& pem),
               pem_file& into) {
    const auto path = from.text();
    if (!path) return;
    into = {};
    if (path->empty()) return;
    const std::string& base = from.shared().directory;
    const std::string file = path->starts_with('/') || base.empty() ? *path : base + '/' + *path;
    const file_text contents = read_bounded(file, largest_pem_file);
    if (!contents.error.empty()) {
        from.fail("names the file " + quoted(file) + ": " + contents.error);
        return;
    }
    const std::string wrong = wrong_with != nullptr ? wrong_with(contents.text) : std::string();
    if (!wrong.empty()) {
        from.fail("names the file " + quoted(file) + ", which " + wrong);
        return;
    }
    into = pem_file(file, contents.text);
}

// A finding about one of the keys, where it is written; else at the table.
void fail_at_key(const config_node& table,
                 const section_name& section,
                 std::string_view key,
                 const std::string& what,
                 reading& in) {
    const config_member* const member = table.find(key);
    const config_node& node = member != nullptr ? member->value : table;
    setting(node, key, section.shown, in).fail(what);
}

}  // namespace

void read_tls_match(const setting& from, tls_policy& into) {
    read_words<check_match>(from, into.match);
}

void read_tls_fingerprints(const setting& from, tls_policy& into) {
    read_words<check_fingerprint>(from, into.fingerprints);
}

void read_tls_ca_file(const setting& from, tls_policy& into) {
    read_file(from, smtpclient::wrong_with_certificates, into.authorities);
}

void read_tls_cert_file(const setting& from, tls_policy& into) {
    read_file(from, smtpclient::wrong_with_certificates, into.certificate);
}

void read_tls_key_file(const setting& from, tls_policy& into) {
    read_file(from, nullptr, into.key);  // see check_tls()
}

void check_tls(const config_node& table,
               const section_name& section,
               const tls_policy& read,
               reading& in) {
    if (read.level == tls_level::fingerprint && read.fingerprints.empty()) {
        fail_at_key(table, section, "tls", "= \"fingerprint\" needs \"tls_fingerprints\"", in);
    }
    if (!read.certificate.is_given()) {
        if (read.key.is_given())
            fail_at_key(table, section, "tls_key_file", "needs \"tls_cert_file\"", in);
        return;
    }
    const bool apart = read.key.is_given();
    const pem_file& key = apart ? read.key : read.certificate;
    const std::string wrong = smtpclient::wrong_with_key(key.text(), read.certificate.text());
    if (wrong.empty()) return;
    const bool here = table.find("tls_key_file") != nullptr;
    std::string what = "names the file " + quoted(key.path()) + ", which " + wrong;
    if (!apart) what += "; the key may stand in a file of its own, \"tls_key_file\"";
    fail_at_key(table, section, apart && here ? "tls_key_file" : "tls_cert_file", what, in);
}

}  // namespace callforward::milter
