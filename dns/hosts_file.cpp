#include "dns/hosts_file.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <optional>
#include <string_view>

namespace callforward::dns {

namespace {

constexpr std::size_t most_bytes = std::size_t{1024} * 1024;
constexpr std::size_t most_addresses = 32;
constexpr std::string_view blanks = " \t\r\v\f";

// Whole lines only: a name that the bound cuts off would be another one.
std::string beginning_of(const std::string& path) {
    std::string text;
    std::array<char, 4096> part{};
    std::ifstream file(path, std::ios::binary);
    while (file && text.size() < most_bytes) {
        file.read(part.data(), part.size());
        text.append(part.data(), static_cast<std::size_t>(file.gcount()));
    }
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

struct host_line {
    std::string_view address;
    std::string_view first_name;
};

std::optional<host_line> line_that_names(const domain& name, std::string_view line) {
    std::string_view rest = take_until(line, "#");
    host_line found{take_word(rest), {}};
    for (auto word = take_word(rest); !word.empty(); word = take_word(rest)) {
        if (found.first_name.empty()) found.first_name = word;
        if (is_same_name(word, name.name())) return found;
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
        const auto line = line_that_names(name, take_until(rest, "\n"));
        const auto address = line ? ip_address::parse(line->address) : std::nullopt;
        if (address && std::find(found.begin(), found.end(), *address) == found.end()) {
            found.push_back(*address);
        }
    }
    return found;
}

std::optional<domain> full_name_in_hosts_file(const std::string& path, const domain& name) {
    if (path.empty()) return std::nullopt;
    const std::string text = beginning_of(path);
    std::string_view rest = text;
    while (!rest.empty()) {
        const auto line = line_that_names(name, take_until(rest, "\n"));
        if (!line || !ip_address::parse(line->address)) continue;
        auto full = domain::parse(line->first_name);
        // localhost.localdomain, as some systems have it, is everybody's.
        const bool says_who = full && full->name().find('.') != std::string::npos &&
                              !full->name().starts_with("localhost.");
        if (says_who) return full;
    }
    return std::nullopt;
}

}  // namespace callforward::dns
