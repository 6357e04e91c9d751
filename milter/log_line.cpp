#include "milter/log_line.h"

#include "dns/byte_set.h"
#include "smtpclient/printable.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace callforward::milter {

namespace {

constexpr std::size_t longest_value = 1000;

std::string_view cut(std::string_view untrusted) {
    return untrusted.substr(0, longest_value);
}

constexpr dns::byte_set plain_in_quotes = dns::printable_ascii.without("\"\\");

// Length of the UTF-8 sequence that may be shown at the front of text; 0 when there is none.
std::size_t shown_as_utf8(std::string_view text) {
    for (std::size_t length = 2; length <= 4 && length <= text.size(); ++length) {
        const std::string_view sequence = text.substr(0, length);
        if (smtpclient::printable_utf8(sequence) == sequence) return length;
    }
    return 0;
}

// What is one of our own words, not to be looked through.
struct word {
    std::string_view text;
};

// Calls field(key, value) for each key in its order; a number and a word have types of their own.
template <class Field>
void for_each_field(const rcpt_record& r, Field&& field) {
    const bool has_stage = r.stage != smtpclient::stage::none;
    const auto elapsed = r.elapsed ? std::optional<std::int64_t>(r.elapsed->count()) : std::nullopt;
    field("id", r.id);
    field("rcpt", r.rcpt);
    field("from", r.from);
    field("client", r.client);
    field("domain", r.domain);
    field("route", r.route);
    field("host", r.host);
    field("address", r.address);
    field("tls", r.tls);
    field("stage", word{has_stage ? to_string(r.stage) : std::string_view()});
    field("code", r.code ? std::optional<std::int64_t>(*r.code) : std::nullopt);
    field("enhanced", r.enhanced);
    field("outcome", word{to_string(r.outcome)});
    field("reason", word{to_string(r.reason)});
    field("class", word{to_string(r.verdict_class)});
    field("action", word{to_string(r.action)});
    field("mode", word{to_string(r.mode)});
    field("source", word{to_string(r.source)});
    field("elapsed_ms", elapsed);
    field("text", r.text);
}

constexpr std::size_t longest_escape = 4;
constexpr std::size_t at_once = 16;  // bytes that are looked at together
constexpr std::size_t longest_number = 20;

// How much the functions below write at most.
std::size_t room_for_value(std::string_view untrusted) {
    return longest_escape * cut(untrusted).size() + at_once;
}

char* put(char* at, std::string_view text) {
    return std::copy(text.begin(), text.end(), at);
}

char* put_escaped(char* at, char c) {
    constexpr std::string_view digits = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
        case '\n':
            return put(at, "\\n");
        case '\r':
            return put(at, "\\r");
        case '\t':
            return put(at, "\\t");
        default:
            break;
    }
    *at++ = '\\';
    if (!dns::printable_ascii.contains(c)) {
        *at++ = 'x';
        *at++ = digits[byte >> 4U];
        c = digits[byte & 0x0fU];
    }
    *at++ = c;
    return at;
}

char* put_quoted(char* at, std::string_view untrusted) {
    *at++ = '"';
    while (!untrusted.empty()) {
        const char c = untrusted.front();
        const bool ascii = static_cast<unsigned char>(c) < 0x80;
        const std::size_t utf8 = ascii ? 0 : shown_as_utf8(untrusted);
        if (utf8 > 0) {
            at = put(at, untrusted.substr(0, utf8));
        } else if (plain_in_quotes.contains(c)) {
            *at++ = c;
        } else {
            at = put_escaped(at, c);
        }
        untrusted.remove_prefix(std::max<std::size_t>(utf8, 1));
    }
    *at++ = '"';
    return at;
}

// Whether so many bytes need no quotes. As a vector (of GCC and Clang, on any processor): by one
// byte after the other this was the dearest part of a line.
bool are_plain(const char* bytes) {
    using vector [[gnu::vector_size(at_once)]] = unsigned char;
    vector each;
    std::memcpy(&each, bytes, sizeof each);
    const auto others =
        (each <= ' ') | (each > '~') | (each == '"') | (each == '=') | (each == '\\');
    std::array<std::uint64_t, 2> halves{};
    static_assert(sizeof halves == sizeof others);
    std::memcpy(halves.data(), &others, sizeof halves);
    return (halves[0] | halves[1]) == 0;
}

char* put_value(char* at, std::string_view untrusted) {
    const std::string_view value = cut(untrusted);
    if (value.empty()) return put_quoted(at, value);
    char* const end = put(at, value);
    std::fill_n(end, at_once, '.');  // so that whole steps can be looked at
    for (const char* step = at; step < end; step += at_once) {
        if (!are_plain(step)) return put_quoted(at, value);
    }
    return end;
}

// Into room that is there: a line has twenty values, and each RCPT a line.
class logfmt_writer {
public:
    explicit logfmt_writer(char* to) : at_(to) {}

    template <std::size_t Size>
    void operator()(const char (&key)[Size], std::string_view untrusted) {
        begin(key);
        at_ = put_value(at_, untrusted);
        *at_++ = ' ';
    }
    template <std::size_t Size>
    void operator()(const char (&key)[Size], word ours) {
        begin(key);
        at_ = put(at_, ours.text.empty() ? "\"\"" : ours.text);
        *at_++ = ' ';
    }
    template <std::size_t Size>
    void operator()(const char (&key)[Size], std::optional<std::int64_t> number) {
        begin(key);
        at_ = number ? std::to_chars(at_, at_ + longest_number, *number).ptr : put(at_, "\"\"");
        *at_++ = ' ';
    }
    // Of what was written, without the last blank.
    [[nodiscard]] const char* end() const { return at_ - 1; }

private:
    template <std::size_t Size>
    void begin(const char (&key)[Size]) {
        at_ = std::copy_n(key, Size - 1, at_);
        *at_++ = '=';
    }

    char* at_;
};

struct logfmt_room {  // that logfmt_writer needs
    std::size_t bytes = 0;

    template <std::size_t Size>
    void operator()(const char (&/*key*/)[Size], std::string_view untrusted) {
        bytes += Size + room_for_value(untrusted) + 1;
    }
    template <std::size_t Size>
    void operator()(const char (&/*key*/)[Size], word ours) {
        bytes += Size + std::max<std::size_t>(ours.text.size(), 2) + 1;
    }
    template <std::size_t Size>
    void operator()(const char (&/*key*/)[Size], std::optional<std::int64_t> /*number*/) {
        bytes += Size + longest_number + 1;
    }
};

struct json_writer {
    nlohmann::ordered_json& object;

    void operator()(const char* key, word ours) const { (*this)(key, ours.text); }
    void operator()(const char* key, std::string_view value) const {
        object[key] = value.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(cut(value));
    }
    void operator()(const char* key, std::optional<std::int64_t> number) const {
        object[key] = number ? nlohmann::ordered_json(*number) : nlohmann::ordered_json();
    }
};

}  // namespace

std::string_view to_string(source s) {
    switch (s) {
        case source::probe:
            return "probe";
        case source::cache:
            return "cache";
        case source::stale:
            return "stale";
        case source::shared:
            return "shared";
        case source::none:
            return "none";
    }
    return "?";
}

std::string logfmt_value(std::string_view untrusted) {
    std::string out(room_for_value(untrusted), '\0');
    out.resize(static_cast<std::size_t>(put_value(out.data(), untrusted) - out.data()));
    return out;
}

void append_logfmt_line(std::string& to, const rcpt_record& r) {
    const std::size_t begin = to.size();
    logfmt_room room;
    for_each_field(r, room);
    to.resize(begin + room.bytes);
    logfmt_writer writer(to.data() + begin);
    for_each_field(r, writer);
    to.resize(static_cast<std::size_t>(writer.end() - to.data()));
}

std::string logfmt_line(const rcpt_record& r) {
    std::string line;
    append_logfmt_line(line, r);
    return line;
}

namespace {

std::string_view name_of(log_level level) {
    switch (level) {
        case log_level::error:
            return "error";
        case log_level::warning:
            return "warning";
        case log_level::info:
            return "info";
        case log_level::debug:
            return "debug";
    }
    return "?";
}

std::string dump(const nlohmann::ordered_json& object) {
    constexpr bool ascii = true;  // what a terminal would obey is not only in ASCII
    return object.dump(-1, ' ', ascii, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace

std::string message_line(log_format format,
                         log_level level,
                         std::string_view message,
                         log_fields with) {
    if (format == log_format::json) {
        nlohmann::ordered_json object;
        object["level"] = name_of(level);
        object["message"] = message;
        for (const auto& [key, value] : with) {
            auto& field = object[std::string(key)];
            if (value.number()) {
                field = *value.number();
            } else {
                field = cut(value.text());
            }
        }
        return dump(object);
    }
    std::string line;
    if (level != log_level::info) line.append(name_of(level)).append(": ");
    line += message;
    for (const auto& [key, value] : with) {
        line.append(" ").append(key).append("=");
        line += value.number() ? std::to_string(*value.number()) : logfmt_value(value.text());
    }
    return line;
}

std::string json_line(const rcpt_record& r) {
    nlohmann::ordered_json object;
    object["level"] = name_of(log_level::info);
    for_each_field(r, json_writer{object});
    return dump(object);
}

std::string make_trace_id(std::uint64_t number) {
    constexpr std::string_view alphabet = "abcdefghijklmnopqrstuvwxyz234567";
    std::string id(7, ' ');
    for (auto place = id.rbegin(); place != id.rend(); ++place) {
        *place = alphabet[number & 31U];
        number >>= 5U;
    }
    return id;
}

}  // namespace callforward::milter
