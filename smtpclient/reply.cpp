#include "smtpclient/reply.h"

#include "smtpclient/printable.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace callforward::smtpclient {

namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_letter_or_digit(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// One number of an enhanced code, at most three digits (RFC 3463 section 2), from the front of
// text.
std::optional<int> take_number(std::string_view& text) {
    int value = 0;
    std::size_t digits = 0;
    while (digits < text.size() && is_digit(text[digits])) {
        if (++digits > 3) return std::nullopt;
        value = value * 10 + (text[digits - 1] - '0');
    }
    if (digits == 0) return std::nullopt;
    text.remove_prefix(digits);
    return value;
}

bool take_dot(std::string_view& text) {
    if (!text.starts_with('.')) return false;
    text.remove_prefix(1);
    return true;
}

}  // namespace

std::string to_string(const enhanced_code& code) {
    std::string text;
    append_text(text, code);
    return text;
}

void append_text(std::string& to, const enhanced_code& code) {
    constexpr std::size_t longest_number = 11;
    std::array<char, 3 * (longest_number + 1)> text{};
    char* end = text.data();
    for (const int number : {code.status_class, code.subject, code.detail}) {
        if (end != text.data()) *end++ = '.';
        end = std::to_chars(end, text.data() + text.size(), number).ptr;
    }
    to.append(text.data(), end);
}

std::optional<enhanced_code> take_enhanced_code(std::string_view& text) {
    std::string_view rest = text;
    // "550  5.7.1 ..." with two blanks is seen; a code overlooked would make a bare 550 of it.
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    if (rest.empty() || (rest[0] != '2' && rest[0] != '4' && rest[0] != '5')) return std::nullopt;
    enhanced_code code;
    code.status_class = rest[0] - '0';
    rest.remove_prefix(1);
    if (!take_dot(rest)) return std::nullopt;
    const auto subject = take_number(rest);
    if (!subject || !take_dot(rest)) return std::nullopt;
    const auto detail = take_number(rest);
    if (!detail) return std::nullopt;
    // "5.1.1.example" is no code; "5.1.1:" and "5.1.1," are seen and are.
    if (!rest.empty() && (is_letter_or_digit(rest[0]) || rest[0] == '.' || rest[0] == '@')) {
        return std::nullopt;
    }
    code.subject = *subject;
    code.detail = *detail;
    const auto end = rest.find_first_not_of(" \t:,");
    text = end == std::string_view::npos ? std::string_view{} : rest.substr(end);
    return code;
}

std::optional<enhanced_code> reply::enhanced() const {
    if (lines.empty()) return std::nullopt;
    std::string_view first = lines.front();
    return take_enhanced_code(first);
}

std::string reply::text() const {
    std::string joined;
    for (const auto& line : lines) {
        std::string_view rest = line;
        static_cast<void>(take_enhanced_code(rest));
        std::string clean = printable(rest);
        const auto first = clean.find_first_not_of(' ');
        if (first == std::string::npos) continue;
        const auto last = clean.find_last_not_of(' ');
        if (!joined.empty()) joined += ' ';
        joined += clean.substr(first, last - first + 1);
    }
    return joined;
}

reply_parser::progress reply_parser::feed(std::string_view& input) {
    if (!why_.empty()) return progress::malformed;
    while (!input.empty()) {
        const auto end = input.find('\n');
        const std::string_view part = input.substr(0, end);
        if (line_.size() < line_limit) line_.append(part.substr(0, line_limit - line_.size()));
        size_ += part.size() + (end == std::string_view::npos ? 0 : 1);
        if (size_ > size_limit) return reject("reply longer than 64 KiB");
        if (end == std::string_view::npos) {
            input = {};
            // What can not become a reply is refused at once; waiting for its line end would be
            // waiting for a peer that may never send one.
            if (line_.size() >= 3 &&
                !(is_digit(line_[0]) && is_digit(line_[1]) && is_digit(line_[2]))) {
                return reject("not an SMTP reply: \"" + printable(line_, 100) + '"');
            }
            return progress::needs_more;
        }
        input.remove_prefix(end + 1);
        const progress now = finish_line();
        if (now != progress::needs_more) return now;
    }
    return progress::needs_more;
}

reply_parser::progress reply_parser::finish_line() {
    if (line_.ends_with('\r')) line_.pop_back();
    const bool has_code = line_.size() >= 3 && line_[0] >= '2' && line_[0] <= '5' &&
                          line_[1] >= '0' && line_[1] <= '5' && is_digit(line_[2]);
    const char separator = line_.size() > 3 ? line_[3] : ' ';
    if (!has_code || (separator != ' ' && separator != '-')) {
        return reject("not an SMTP reply: \"" + printable(line_, 100) + '"');
    }
    const int code = (line_[0] - '0') * 100 + (line_[1] - '0') * 10 + (line_[2] - '0');
    if (!reply_.lines.empty() && code != reply_.code) {
        return reject("codes " + std::to_string(reply_.code) + " and " + std::to_string(code) +
                      " in one reply");
    }
    if (reply_.lines.size() == lines_limit) return reject("reply of more than 128 lines");
    reply_.code = code;
    reply_.lines.push_back(line_.size() > 4 ? line_.substr(4) : std::string{});
    line_.clear();
    return separator == '-' ? progress::needs_more : progress::complete;
}

reply_parser::progress reply_parser::reject(std::string why) {
    why_ = std::move(why);
    return progress::malformed;
}

reply reply_parser::take() {
    reply done = std::move(reply_);
    reply_ = {};
    line_.clear();
    size_ = 0;
    return done;
}

}  // namespace callforward::smtpclient
