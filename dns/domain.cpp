#include "dns/domain.h"

#include <idn2.h>

#include <algorithm>
#include <memory>

namespace callforward::dns {

namespace {

constexpr std::size_t longest_name = 253;
constexpr std::size_t longest_label = 63;

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_host_character(char c) {
    return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '_';
}

// U-labels to A-labels, lower case; nothing when IDNA2008 does not allow the name.
std::optional<std::string> to_a_labels(const std::string& name) {
    char* converted = nullptr;
    const int result =
        idn2_to_ascii_8z(name.c_str(), &converted, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    const std::unique_ptr<char, decltype(&idn2_free)> owner(converted, idn2_free);
    if (result != IDN2_OK) return std::nullopt;
    return std::string(converted);
}

bool is_valid(const std::string& name) {
    if (name.empty() || name.size() > longest_name) return false;
    std::size_t label = 0;
    for (const char c : name) {
        if (c == '.') {
            if (label == 0) return false;
            label = 0;
        } else if (!is_host_character(c) || ++label > longest_label) {
            return false;
        }
    }
    return label != 0;
}

}  // namespace

std::optional<domain> domain::parse(std::string_view untrusted) {
    std::optional<domain> parsed;
    parse_into(parsed, untrusted);
    return parsed;
}

void domain::parse_into(std::optional<domain>& into, std::string_view untrusted) {
    if (!into) into = domain(std::string{});
    if (!assign_name(into->name_, untrusted)) into.reset();
}

bool assign_name(std::string& name, std::string_view untrusted) {
    // No valid name of U-labels is anywhere near as long; do not feed more to libidn2.
    if (untrusted.size() > 4 * longest_name) return false;
    if (untrusted.find('\0') != std::string_view::npos) return false;
    if (untrusted.ends_with('.')) untrusted.remove_suffix(1);
    name.assign(untrusted);
    const bool ascii = std::all_of(
        name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
    if (!ascii) {
        auto converted = to_a_labels(name);
        if (!converted) return false;
        name = std::move(*converted);
    }
    std::transform(name.begin(), name.end(), name.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return is_valid(name) && !looks_numeric(name);
}

std::optional<domain> domain::parent() const {
    const auto dot = name_.find('.');
    if (dot == std::string::npos) return std::nullopt;
    return domain(name_.substr(dot + 1));
}

bool looks_numeric(std::string_view name) {
    if (name.ends_with('.')) name.remove_suffix(1);
    const auto dot = name.rfind('.');
    const std::string_view last = dot == std::string_view::npos ? name : name.substr(dot + 1);
    return !last.empty() && std::all_of(last.begin(), last.end(), is_digit);
}

}  // namespace callforward::dns
