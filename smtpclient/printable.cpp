#include "smtpclient/printable.h"

#include "dns/byte_set.h"

#include <algorithm>

namespace callforward::smtpclient {

namespace {

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Length of the well-formed UTF-8 sequence beyond ASCII at the front of text; 0 when there is none.
// C1 controls, surrogates, overlong forms and the bidirectional overrides that reorder a terminal's
// line are not let through.
std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = byte(0);
    std::size_t length = 0;
    unsigned value = 0;
    if (first >= 0xc2 && first <= 0xdf) {
        length = 2;
        value = first & 0x1fU;
    } else if (first >= 0xe0 && first <= 0xef) {
        length = 3;
        value = first & 0x0fU;
    } else if (first >= 0xf0 && first <= 0xf4) {
        length = 4;
        value = first & 0x07U;
    }
    if (length == 0 || text.size() < length) return 0;
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0U) != 0x80U) return 0;
        value = value << 6 | (byte(i) & 0x3fU);
    }
    const bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
    const bool surrogate = value >= 0xd800 && value <= 0xdfff;
    const bool control = value < 0xa0;
    const bool reorders = value == 0x061c || (value >= 0x200e && value <= 0x200f) ||
                          (value >= 0x2028 && value <= 0x202e) ||
                          (value >= 0x2066 && value <= 0x2069);
    return overlong || surrogate || control || reorders || value > 0x10ffff ? 0 : length;
}

void append_printable(std::string& to,
                      std::string_view untrusted,
                      std::size_t limit,
                      bool keep_utf8) {
    // What nearly every line is.
    if (untrusted.size() <= limit && dns::printable_ascii.contains_all_of(untrusted)) {
        to += untrusted;
        return;
    }
    const std::size_t end = to.size() + limit;  // at most
    to.reserve(to.size() + std::min(untrusted.size(), limit));
    while (!untrusted.empty() && to.size() < end) {
        const char c = untrusted.front();
        std::size_t used = 1;
        if (is_blank(c)) {
            while (used < untrusted.size() && c != ' ' && is_blank(untrusted[used])) ++used;
            to += ' ';
        } else if (c > ' ' && c < 0x7f) {
            to += c;
        } else {
            const std::size_t length = keep_utf8 ? utf8_length(untrusted) : 0;
            if (length > 0 && to.size() + length > end) break;
            if (length > 0) {
                to.append(untrusted.substr(0, length));
                used = length;
            } else {
                to += '?';
            }
        }
        untrusted.remove_prefix(used);
    }
}

}  // namespace

std::string printable(std::string_view untrusted, std::size_t limit) {
    std::string result;
    append_printable(result, untrusted, limit, false);
    return result;
}

std::string printable_utf8(std::string_view untrusted, std::size_t limit) {
    std::string result;
    append_printable_utf8(result, untrusted, limit);
    return result;
}

void append_printable_utf8(std::string& to, std::string_view untrusted, std::size_t limit) {
    append_printable(to, untrusted, limit, true);
}

std::string to_lower(std::string_view text) {
    std::string result(text);
    std::transform(result.begin(), result.end(), result.begin(), lower);
    return result;
}

std::size_t to_lower(std::string_view text, char* buffer, std::size_t room) {
    const std::string_view part = text.substr(0, room);
    std::transform(part.begin(), part.end(), buffer, lower);
    return part.size();
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
        return lower(x) == lower(y);
    });
}

bool contains_ignoring_case(std::string_view text, std::string_view lower_case_word) {
    return std::search(text.begin(),
                       text.end(),
                       lower_case_word.begin(),
                       lower_case_word.end(),
                       [](char is, char want) { return lower(is) == want; }) != text.end() ||
           lower_case_word.empty();
}

}  // namespace callforward::smtpclient
