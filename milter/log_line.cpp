#include "milter/log_line.h"

#include "smtpclient/printable.h"

#include <nlohmann/json.hpp>

#include <array>
#include <charconv>

namespace callforward::milter {

namespace {

constexpr std::size_t longest_value = 1000;

std::string_view cut(std::string_view untrusted) {
    return untrusted.substr(0, longest_value);
}

// By byte: a log line has twenty values, and each RCPT a line.
using bytes_table = std::array<bool, 256>;

constexpr bytes_table printable_but(std::string_view special) {
    bytes_table table{};
    for (unsigned c = ' '; c < 0x7f; ++c) {
        table[c] = special.find(static_cast<char>(c)) == std::string_view::npos;
    }
    return table;
}

constexpr bytes_table plain = printable_but(" \"=\\");
constexpr bytes_table plain_in_quotes = printable_but("\"\\");

// How many bytes at the front are of the table.
std::size_t run_of(const bytes_table& table, std::string_view text) {
    std::size_t length = 0;
    while (length < text.size() && table[static_cast<unsigned char>(text[length])]) ++length;
    return length;
}

// Length of the UTF-8 sequence that may be shown at the front of text; 0 when there is none.
std::size_t shown_as_utf8(std::string_view text) {
    for (std::size_t length = 2; length <= 4 && length <= text.size(); ++length) {
        const std::string_view sequence = text.substr(0, length);
        if (smtpclient::printable_utf8(sequence) == sequence) return length;
    }
    return 0;
}

void append_escaped(std::string& out, char c) {
    constexpr std::string_view digits = "0123456789abcdef";
    switch (c) {
        case '"':
        case '\\':
            out += '\\';
            out += c;
            return;
        case '\n':
            out += "\\n";
            return;
        case '\r':
            out += "\\r";
            return;
        case '\t':
            out += "\\t";
            return;
        default:
            break;
    }
    if (c >= ' ' && c < 0x7f) {
        out += c;
        return;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += "\\x";
    out += digits[byte >> 4U];
    out += digits[byte & 0x0fU];
}

// Calls field(key, value) for each key in its order; a number has a type of its own.
template <class Field>
void for_each_field(const rcpt_record& r, Field field) {
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
    field("stage", has_stage ? to_string(r.stage) : std::string_view());
    field("code", r.code ? std::optional<std::int64_t>(*r.code) : std::nullopt);
    field("enhanced", r.enhanced);
    field("outcome", to_string(r.outcome));
    field("reason", to_string(r.reason));
    field("class", to_string(r.verdict_class));
    field("action", to_string(r.action));
    field("mode", to_string(r.mode));
    field("source", to_string(r.source));
    field("elapsed_ms", elapsed);
    field("text", r.text);
}

void append_value(std::string& to, std::string_view untrusted) {
    std::string_view value = cut(untrusted);
    if (!value.empty() && run_of(plain, value) == value.size()) {
        to += value;
        return;
    }
    to += '"';
    while (!value.empty()) {
        const std::size_t run = run_of(plain_in_quotes, value);
        to.append(value.substr(0, run));
        value.remove_prefix(run);
        if (value.empty()) break;
        const bool ascii = static_cast<unsigned char>(value.front()) < 0x80;
        const std::size_t utf8 = ascii ? 0 : shown_as_utf8(value);
        if (utf8 > 0) {
            to.append(value.substr(0, utf8));
            value.remove_prefix(utf8);
        } else {
            append_escaped(to, value.front());
            value.remove_prefix(1);
        }
    }
    to += '"';
}

struct logfmt_writer {
    std::string& line;
    const std::size_t begin = line.size();

    void operator()(std::string_view key, std::string_view value) const {
        if (line.size() > begin) line += ' ';
        line.append(key) += '=';
        append_value(line, value);
    }
    void operator()(std::string_view key, std::optional<std::int64_t> number) const {
        std::array<char, 20> digits{};
        const auto end =
            number ? std::to_chars(digits.begin(), digits.end(), *number).ptr : digits.begin();
        (*this)(key,
                std::string_view(digits.data(), static_cast<std::size_t>(end - digits.begin())));
    }
};

struct json_writer {
    nlohmann::ordered_json& object;

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
    std::string out;
    append_value(out, untrusted);
    return out;
}

void append_logfmt_line(std::string& to, const rcpt_record& r) {
    for_each_field(r, logfmt_writer{to});
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
        for (const auto& [key, value] : with) object[std::string(key)] = cut(value);
        return dump(object);
    }
    std::string line;
    if (level != log_level::info) line.append(name_of(level)).append(": ");
    line += message;
    for (const auto& [key, value] : with) {
        line.append(" ").append(key).append("=").append(logfmt_value(value));
    }
    return line;
}

std::string json_line(const rcpt_record& r) {
    nlohmann::ordered_json object;
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
