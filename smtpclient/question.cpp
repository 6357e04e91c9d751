#include "smtpclient/question.h"

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

std::string destination::text() const {
    if (recipient_mx) return "mx";
    std::string joined;
    for (const auto& hop : hops) {
        if (!joined.empty()) joined += ',';
        joined += to_string(hop);
    }
    return joined;
}

}  // namespace callforward::smtpclient
