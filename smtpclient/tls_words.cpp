#include "smtpclient/tls_words.h"

#include "smtpclient/certificate.h"
#include "smtpclient/printable.h"

#include <array>
#include <fstream>
#include <utility>

namespace callforward::smtpclient {

namespace {

constexpr std::size_t largest_ca_file = std::size_t{4} * 1024 * 1024;

std::string said_of(std::string_view name, const std::string& untrusted, std::string_view what) {
    return std::string(name) + ": \"" + printable_utf8(untrusted, 100) + "\" " + std::string(what);
}

std::string level_names() {
    std::string names;
    for (const auto name : tls_level_names())
        names += (names.empty() ? "" : ", ") + std::string(name);
    return names;
}

std::string read_authorities(const std::string& path, std::string_view name, pem_file& into) {
    if (path.find('\0') != std::string::npos) return said_of(name, path, "is no file's name");
    std::ifstream file(path, std::ios::binary);
    std::string text;
    std::array<char, 65536> chunk;
    while (file && text.size() <= largest_ca_file) {
        file.read(chunk.data(), chunk.size());
        text.append(chunk.data(), static_cast<std::size_t>(file.gcount()));
    }
    if (file.bad() || text.empty()) return said_of(name, path, "can not be read, or is empty");
    if (text.size() > largest_ca_file) return said_of(name, path, "is larger than 4 MiB");
    const std::string wrong = wrong_with_certificates(text);
    if (!wrong.empty()) return said_of(name, path, wrong);
    into = pem_file(path, std::move(text));
    return {};
}

}  // namespace

std::string read_tls(const tls_words& words, const tls_word_names& called, tls_policy& into) {
    const auto level = parse_tls_level(words.level);
    if (!level) {
        return said_of(called.level, words.level, "is no TLS level; use one of " + level_names());
    }
    into.level = *level;
    for (const auto& text : words.match) {
        auto match = parse_tls_match(text);
        if (!match) {
            return said_of(
                called.match,
                text,
                "is none of hostname, nexthop, dot-nexthop, mx.example.com, .example.com");
        }
        into.match.push_back(std::move(*match));
    }
    for (const auto& text : words.fingerprints) {
        auto digits = parse_fingerprint(text);
        if (!digits) {
            return said_of(
                called.fingerprints, text, "is not 64 hexadecimal digits, with colons or without");
        }
        into.fingerprints.push_back(std::move(*digits));
    }
    if (*level == tls_level::fingerprint && into.fingerprints.empty()) {
        return said_of(called.level, words.level, "needs " + std::string(called.fingerprints));
    }
    if (words.ca_file.empty()) return {};
    return read_authorities(words.ca_file, called.ca_file, into.authorities);
}

}  // namespace callforward::smtpclient
