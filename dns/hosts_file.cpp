#include "dns/hosts_file.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <string_view>

namespace callforward::dns {

namespace {

constexpr std::size_t most_bytes = 1024 * 1024;
constexpr std::size_t most_addresses = 32;
constexpr std::string_view blanks = " \t\r\v\f";

// Whole lines only: a name that the bound cuts off would be another one.
std::string beginning_of(const std::string& path) {
    std::string text(most_bytes, '\0');
    std::ifstream file(path, std::ios::binary);
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
    if (text.size() == most_bytes) text.resize(text.rfind('\n') + 1);  // none: 0
    return text;
}

// The part of `from` before the separator, which is taken off it with that part.
std::string_view take_until(std::string_view& from, std::string_view separators) {
    const auto end = std::min(from.find_first_of(separators), from.size());
    const std::string_view part = from.substr(0, end);
    from.remove_prefix(std::min(end + 1, from.size()));
    return part;
}

std::string_view take_word(std::string_view& from) {
    from.remove_prefix(std::min(from.find_first_not_of(blanks), from.size()));
    return take_until(from, blanks);
}

bool is_same_name(std::string_view untrusted, const std::string& lower_case) {
    return std::equal(untrusted.begin(),
                      untrusted.end(),
                      lower_case.begin(),
                      lower_case.end(),
                      [](char is, char want) {
                          return want == (is >= 'A' && is <= 'Z' ? is + ('a' - 'A') : is);
                      });
}

std::optional<ip_address> address_in_line(std::string_view line, const domain& name) {
    std::string_view rest = take_until(line, "#");
    const std::string_view address = take_word(rest);
    for (auto word = take_word(rest); !word.empty(); word = take_word(rest)) {
        if (is_same_name(word, name.name())) return ip_address::parse(address);
    }
    return std::nullopt;
}

}  // namespace

std::vector<ip_address> addresses_in_hosts_file(const std::string& path, const domain& name) {
    std::vector<ip_address> found;
    if (path.empty()) return found;
    const std::string text = beginning_of(path);
    std::string_view rest = text;
    while (!rest.empty() && found.size() < most_addresses) {
        const auto address = address_in_line(take_until(rest, "\n"), name);
        if (address && std::find(found.begin(), found.end(), *address) == found.end()) {
            found.push_back(*address);
        }
    }
    return found;
}

}  // namespace callforward::dns
