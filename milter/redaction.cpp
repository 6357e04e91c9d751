#include "milter/redaction.h"

#include "dns/ip.h"
#include "smtpclient/printable.h"

#include <algorithm>

namespace callforward::milter {

namespace {

constexpr char removed = '\x01';             // no byte of printable text
constexpr std::size_t longest_address = 45;  // of an IPv6 address in text

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_alphanumeric(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_word(char c) {
    return is_alphanumeric(c) || c == '-' || c == '_';
}

bool is_of_address(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' || c == '.';
}

// A dot between words joins them to one name; a dot before a blank ends a sentence.
bool begins_word(std::string_view text, std::size_t at) {
    if (at == 0) return true;
    if (is_word(text[at - 1])) return false;
    return text[at - 1] != '.' || at == 1 || !is_word(text[at - 2]);
}

bool ends_word(std::string_view text, std::size_t end) {
    if (end == text.size()) return true;
    if (is_word(text[end]) || text[end] == '@') return false;
    return text[end] != '.' || end + 1 == text.size() || !is_word(text[end + 1]);
}

// The end of ":25" at `at`, or `at`.
std::size_t after_port(std::string_view text, std::size_t at) {
    if (at >= text.size() || text[at] != ':') return at;
    std::size_t end = at + 1;
    while (end < text.size() && is_digit(text[end])) ++end;
    return end == at + 1 || (end < text.size() && is_word(text[end])) ? at : end;
}

// Replaces text[begin, end) by marks, with what belongs to a host that stands there.
void remove_host(std::string& text, std::size_t begin, std::size_t end) {
    constexpr std::string_view before_mailbox = " <([{\"',;:";
    constexpr std::string_view after_url = " >)]}\"'";
    end = after_port(text, end);
    if (begin > 0 && text[begin - 1] == '@') {
        while (begin > 0 && before_mailbox.find(text[begin - 1]) == std::string_view::npos) --begin;
    }
    if (begin >= 3 && text.compare(begin - 3, 3, "://") == 0) {
        begin -= 3;
        while (begin > 0 && is_alphanumeric(text[begin - 1])) --begin;
        end = std::min(text.find_first_of(after_url, end), text.size());
    }
    std::fill(text.begin() + static_cast<std::ptrdiff_t>(begin),
              text.begin() + static_cast<std::ptrdiff_t>(end),
              removed);
}

void remove_name(std::string& text, const std::string& lower_case_name) {
    const std::string lower = smtpclient::to_lower(text);
    for (auto at = lower.find(lower_case_name); at != std::string::npos;
         at = lower.find(lower_case_name, at + 1)) {
        const auto end = at + lower_case_name.size();
        if (begins_word(text, at) && ends_word(text, end)) remove_host(text, at, end);
    }
}

// The end of one of addresses that begins at `at`, or `at`: the longest text that is one.
std::size_t end_of_address(std::string_view text,
                           std::size_t at,
                           const std::vector<dns::ip_address>& addresses) {
    std::size_t end = at;
    while (end < text.size() && end - at < longest_address && is_of_address(text[end])) ++end;
    while (end > at) {
        if (ends_word(text, end)) {
            const auto found = dns::ip_address::parse(text.substr(at, end - at));
            if (found && std::find(addresses.begin(), addresses.end(), *found) != addresses.end()) {
                return end;
            }
        }
        // A port or the end of a sentence may follow.
        --end;
        while (end > at && text[end] != ':' && text[end] != '.') --end;
    }
    return at;
}

void remove_addresses(std::string& text, const std::vector<dns::ip_address>& addresses) {
    constexpr std::string_view tag = "ipv6:";
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (!begins_word(text, at)) continue;
        std::size_t from = at;
        if (smtpclient::equal_ignoring_case(std::string_view(text).substr(at, tag.size()), tag)) {
            from += tag.size();
        }
        const auto end = end_of_address(text, from, addresses);
        if (end == from) continue;
        remove_host(text, at, end);
        at = end - 1;
    }
}

char opening(char closing) {
    switch (closing) {
        case ')':
            return '(';
        case ']':
            return '[';
        case '>':
            return '<';
        case '}':
            return '{';
        case '"':
        case '\'':
            return closing;
        default:
            return '\0';
    }
}

// Appends c; a mark swallows a mark before it and what joined the two.
void push(std::string& out, char c) {
    if (c == removed) {
        const auto last = out.find_last_not_of(" ,;/");
        if (last != std::string::npos && out[last] == removed) out.resize(last);
        out += removed;
        return;
    }
    const auto mark = out.find_last_not_of(' ');
    if (opening(c) != '\0' && mark != std::string::npos && out[mark] == removed && mark > 0) {
        const auto before = out.find_last_not_of(' ', mark - 1);
        if (before != std::string::npos && out[before] == opening(c)) {
            out.resize(before);
            push(out, removed);
            return;
        }
    }
    out += c;
}

// Takes the marks out, with brackets that held nothing else and blanks before punctuation.
std::string without_marks(std::string_view marked) {
    constexpr std::string_view punctuation = ".,;:!?";
    std::string merged;
    for (std::size_t at = 0; at < marked.size(); ++at) {
        if (!merged.empty() && merged.back() == removed) at = after_port(marked, at);
        if (at < marked.size()) push(merged, marked[at]);
    }
    std::string out;
    bool after_mark = false;
    for (const char c : merged) {
        if (c == removed) {
            after_mark = true;
            continue;
        }
        if (after_mark && punctuation.find(c) != std::string_view::npos) {
            while (out.ends_with(' ')) out.pop_back();
            if (out.empty()) continue;  // "mx.example: no such user"
        }
        after_mark = false;
        out += c;
    }
    return out;
}

std::string_view without_brackets(std::string_view name) {
    if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
    if (name.ends_with('.')) name.remove_suffix(1);
    return name;
}

}  // namespace

std::string without_names(std::string_view text, const std::vector<std::string>& names) {
    std::string marked(text);
    std::vector<dns::ip_address> addresses;
    for (const auto& entry : names) {
        const std::string_view name = without_brackets(entry);
        if (const auto address = dns::ip_address::parse_literal(name)) {
            addresses.push_back(*address);
        } else if (std::any_of(name.begin(), name.end(), is_alphanumeric)) {
            remove_name(marked, smtpclient::to_lower(name));
        }
    }
    if (!addresses.empty()) remove_addresses(marked, addresses);
    return without_marks(marked);
}

std::string squeezed(std::string_view text, std::size_t limit) {
    std::string out;
    for (const char c : text) {
        if (c != ' ' || (!out.empty() && out.back() != ' ')) out += c;
    }
    if (out.size() > limit) {
        const auto blank = out.rfind(' ', limit);
        out.resize(blank == std::string::npos || blank == 0 ? limit : blank);
    }
    while (out.ends_with(' ')) out.pop_back();
    return out;
}

}  // namespace callforward::milter
