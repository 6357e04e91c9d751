#include "dns/domain.h"

#include "dns/byte_set.h"

#include <idn2.h>

#include <array>
#include <memory>

namespace callforward::dns {

namespace {

constexpr std::size_t longest_name = 253;
constexpr std::size_t longest_label = 63;

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// By byte: what it is in a name, folded; NUL for what can not be there. Every RCPT has names.
constexpr std::array<char, 256> in_label = [] {
    std::array<char, 256> table{};
    for (char c = 'a'; c <= 'z'; ++c) {
        table[static_cast<std::size_t>(c)] = c;
        table[static_cast<std::size_t>(c - 'a' + 'A')] = c;
    }
    for (const char c : {'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '-', '_'}) {
        table[static_cast<std::size_t>(c)] = c;
    }
    return table;
}();

// U-labels to A-labels, lower case; nothing when IDNA2008 does not allow the name.
std::optional<std::string> to_a_labels(const std::string& name) {
    char* converted = nullptr;
    const int result =
        idn2_to_ascii_8z(name.c_str(), &converted, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    const std::unique_ptr<char, decltype(&idn2_free)> owner(converted, idn2_free);
    if (result != IDN2_OK) return std::nullopt;
    return std::string(converted);
}

// Folds it where it stands. The last label is no number: that would be an address.
bool fold_valid(std::string& name) {
    if (name.size() > longest_name) return false;
    std::size_t label = 0;
    bool numeric = true;
    for (char& c : name) {
        if (c == '.') {
            if (label == 0) return false;
            label = 0;
            numeric = true;
            continue;
        }
        c = in_label[static_cast<unsigned char>(c)];
        if (c == '\0' || ++label > longest_label) return false;
        numeric = numeric && is_digit(c);
    }
    return label != 0 && !numeric;
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
    if (!ascii.contains_all_of(name)) {
        auto converted = to_a_labels(name);
        if (!converted) return false;
        name = std::move(*converted);
    }
    return fold_valid(name);
}

std::optional<domain> domain::parent() const {
    const auto dot = name_.find('.');
    if (dot == std::string::npos) return std::nullopt;
    return domain(name_.substr(dot + 1));
}

}  // namespace callforward::dns
