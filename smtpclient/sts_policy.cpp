#include "smtpclient/sts_policy.h"

#include "dns/domain.h"
#include "smtpclient/printable.h"

#include <algorithm>
#include <charconv>

namespace callforward::smtpclient {

namespace {

constexpr std::chrono::seconds longest_age{31557600};  // RFC 8461 section 3.2
constexpr std::size_t most_patterns = 1000;
constexpr std::size_t longest_id = 32;

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view blanks = " \t\r";
    const auto begin = text.find_first_not_of(blanks);
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

// The next part of `rest`, up to the mark, which is taken as well.
std::string_view next_part(std::string_view& rest, char mark) {
    const auto end = rest.find(mark);
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    return part;
}

std::optional<sts_policy::mode> mode_of(std::string_view word) {
    if (word == "enforce") return sts_policy::mode::enforce;
    if (word == "testing") return sts_policy::mode::testing;
    if (word == "none") return sts_policy::mode::none;
    return std::nullopt;
}

std::optional<std::chrono::seconds> age_of(std::string_view digits) {
    long long number = 0;
    const char* const end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, number);
    if (digits.empty() || digits.front() == '-' || stop != end) return std::nullopt;
    if (error == std::errc::result_out_of_range) return longest_age;
    if (error != std::errc{}) return std::nullopt;
    return std::min(longest_age, std::chrono::seconds(std::min<long long>(number, 1LL << 40)));
}

// "" for what is none.
std::string pattern_of(std::string_view text) {
    const bool wildcard = text.starts_with("*.");
    const auto name = dns::domain::parse(text.substr(wildcard ? 2 : 0));
    if (!name) return {};
    return (wildcard ? "*." : "") + name->name();
}

}  // namespace

bool sts_policy::covers(std::string_view host) const {
    return std::any_of(patterns.begin(), patterns.end(), [&](std::string_view pattern) {
        if (!pattern.starts_with("*.")) return pattern == host;
        const auto dot = host.find('.');
        return dot != std::string_view::npos && dot > 0 && host.substr(dot) == pattern.substr(1);
    });
}

std::optional<sts_policy> parse_sts_policy(std::string_view untrusted, std::string& why) {
    sts_policy policy;
    bool has_version = false;
    std::optional<sts_policy::mode> mode;
    std::optional<std::chrono::seconds> age;
    const auto wrong = [&](std::string_view what) {
        why = what;
        return std::nullopt;
    };
    while (!untrusted.empty()) {
        std::string_view line = next_part(untrusted, '\n');
        if (trimmed(line).empty()) continue;
        const std::string_view key = trimmed(next_part(line, ':'));
        const std::string_view value = trimmed(line);
        // Of a field that comes again the first counts, but for mx.
        if (key == "version") {
            if (value != "STSv1") return wrong("it has another version than STSv1");
            has_version = true;
        } else if (key == "mode" && !mode) {
            mode = mode_of(value);
            if (!mode) return wrong("it has an unknown mode");
        } else if (key == "max_age" && !age) {
            age = age_of(value);
            if (!age) return wrong("its max_age is no number");
        } else if (key == "mx") {
            const std::string pattern = pattern_of(value);
            if (pattern.empty()) return wrong("an mx of it is no host name");
            if (policy.patterns.size() < most_patterns) policy.patterns.push_back(pattern);
        }
    }
    if (!has_version || !mode || !age) return wrong("it lacks version, mode or max_age");
    if (*mode != sts_policy::mode::none && policy.patterns.empty()) return wrong("it lists no mx");
    policy.how = *mode;
    policy.max_age = *age;
    return policy;
}

std::optional<std::string> sts_id(const std::vector<std::string>& untrusted_records) {
    std::optional<std::string> id;
    int count = 0;
    for (const std::string& record : untrusted_records) {
        std::string_view rest = record;
        if (trimmed(next_part(rest, ';')) != "v=STSv1") continue;
        ++count;
        while (!rest.empty()) {
            std::string_view field = next_part(rest, ';');
            if (trimmed(next_part(field, '=')) == "id" && !id) id = std::string(trimmed(field));
        }
    }
    if (count != 1 || !id || id->empty() || id->size() > longest_id) return std::nullopt;
    const bool plain = std::all_of(id->begin(), id->end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    });
    return plain ? id : std::nullopt;
}

}  // namespace callforward::smtpclient
