#include "smtpclient/tls_policy.h"

#include "dns/domain.h"
#include "smtpclient/certificate.h"
#include "smtpclient/printable.h"

#include <algorithm>
#include <array>
#include <utility>

namespace callforward::smtpclient {

namespace {

constexpr std::array levels{
    std::pair{tls_level::none, std::string_view("none")},
    std::pair{tls_level::may, std::string_view("may")},
    std::pair{tls_level::encrypt, std::string_view("encrypt")},
    std::pair{tls_level::dane, std::string_view("dane")},
    std::pair{tls_level::dane_only, std::string_view("dane-only")},
    std::pair{tls_level::fingerprint, std::string_view("fingerprint")},
    std::pair{tls_level::verify, std::string_view("verify")},
    std::pair{tls_level::secure, std::string_view("secure")},
};

// Postfix's smtp_tls_verify_cert_match and smtp_tls_secure_cert_match.
const std::vector<std::string>& usual_match(tls_level level) {
    static const std::vector<std::string> of_verify{"hostname"};
    static const std::vector<std::string> of_secure{"nexthop", "dot-nexthop"};
    return level == tls_level::secure ? of_secure : of_verify;
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const auto& word : words) text += (text.empty() ? "" : ",") + word;
    return text;
}

}  // namespace

std::string_view to_string(tls_level level) {
    for (const auto& [value, name] : levels) {
        if (value == level) return name;
    }
    return "?";
}

std::optional<tls_level> parse_tls_level(std::string_view name) {
    for (const auto& [value, its_name] : levels) {
        if (its_name == name) return value;
    }
    return std::nullopt;
}

const std::vector<std::string_view>& tls_level_names() {
    static const auto names = [] {
        std::vector<std::string_view> all;
        for (const auto& level : levels) all.push_back(level.second);
        return all;
    }();
    return names;
}

std::string_view to_string(tls_version version) {
    switch (version) {
        case tls_version::tls1_0:
            return "1.0";
        case tls_version::tls1_1:
            return "1.1";
        case tls_version::tls1_2:
            return "1.2";
        case tls_version::tls1_3:
            return "1.3";
    }
    return "?";
}

std::optional<std::string> parse_tls_match(std::string_view text) {
    if (text == "hostname" || text == "nexthop" || text == "dot-nexthop") return std::string(text);
    const bool below = text.starts_with('.');
    const auto name = dns::domain::parse(text.substr(below ? 1 : 0));
    if (!name || text.find('.') == std::string_view::npos) return std::nullopt;
    return (below ? "." : "") + name->name();
}

std::optional<std::string> parse_fingerprint(std::string_view text) {
    std::string digits = to_lower(text);
    std::erase(digits, ':');
    const bool hexadecimal = digits.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!hexadecimal || digits.size() != 64) return std::nullopt;
    return digits;
}

pem_file::pem_file(std::string path, std::string text)
    : path_(std::move(path)),
      text_(std::make_shared<const std::string>(std::move(text))),
      digest_(sha256_of(*text_)) {}

std::string tls_policy::text() const {
    std::string all = "tls=";
    all.append(to_string(level)).append(" tls_min=").append(to_string(least));
    if (!match.empty()) all += " match=" + joined(match);
    if (!fingerprints.empty()) all += " fingerprints=" + joined(fingerprints);
    if (authorities.is_given()) all += " ca=" + authorities.digest();
    if (certificate.is_given()) all += " cert=" + certificate.digest() + '/' + key.digest();
    if (mta_sts) all += " mta_sts";
    return all;
}

bool tls_policy::asks_for_nexthop() const {
    if (level != tls_level::verify && level != tls_level::secure) return false;
    const auto& patterns = match.empty() ? usual_match(level) : match;
    return std::any_of(patterns.begin(), patterns.end(), [](const auto& pattern) {
        return pattern == "nexthop" || pattern == "dot-nexthop";
    });
}

std::vector<std::string> tls_policy::names_wanted(const std::string& hostname,
                                                  const std::string& nexthop) const {
    std::vector<std::string> names;
    const auto add = [&](const std::string& prefix, const std::string& name) {
        if (name.empty()) return;
        const std::string wanted = prefix + name;
        if (std::find(names.begin(), names.end(), wanted) == names.end()) names.push_back(wanted);
    };
    for (const auto& pattern : match.empty() ? usual_match(level) : match) {
        if (pattern == "hostname") {
            add("", hostname);
        } else if (pattern == "nexthop") {
            add("", nexthop);
        } else if (pattern == "dot-nexthop") {
            add(".", nexthop);
        } else {
            add("", pattern);
        }
    }
    return names;
}

}  // namespace callforward::smtpclient
