#include "milter/log_line.h"

#include "smtpclient/printable.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace callforward::milter {

namespace {

constexpr std::size_t longest_value = 1000;

std::string_view cut(std::string_view untrusted) {
    return untrusted.substr(0, longest_value);
}

bool is_plain(char c) {
    return c > ' ' && c < 0x7f && c != '"' && c != '=' && c != '\\';
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
    using text = std::string_view;
    const bool has_stage = r.stage != smtpclient::stage::none;
    const auto elapsed = r.elapsed ? std::optional<std::int64_t>(r.elapsed->count()) : std::nullopt;
    field("id", text(r.id));
    field("rcpt", text(r.rcpt));
    field("from", text(r.from));
    field("client", text(r.client));
    field("domain", text(r.domain));
    field("route", text(r.route));
    field("host", text(r.host));
    field("address", text(r.address));
    field("tls", text(r.tls));
    field("stage", has_stage ? to_string(r.stage) : text());
    field("code", r.code ? std::optional<std::int64_t>(*r.code) : std::nullopt);
    field("enhanced", text(r.enhanced));
    field("outcome", to_string(r.outcome));
    field("reason", to_string(r.reason));
    field("class", to_string(r.verdict_class));
    field("action", to_string(r.action));
    field("mode", to_string(r.mode));
    field("source", to_string(r.source));
    field("elapsed_ms", elapsed);
    field("text", text(r.text));
}

struct logfmt_writer {
    std::string& line;

    void operator()(std::string_view key, std::string_view value) const {
        if (!line.empty()) line += ' ';
        line.append(key) += '=';
        line += logfmt_value(value);
    }
    void operator()(std::string_view key, std::optional<std::int64_t> number) const {
        const std::string text = number ? std::to_string(*number) : std::string();
        (*this)(key, std::string_view(text));
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
    std::string_view value = cut(untrusted);
    if (!value.empty() && std::all_of(value.begin(), value.end(), is_plain)) {
        return std::string(value);
    }
    std::string out = "\"";
    while (!value.empty()) {
        const bool ascii = static_cast<unsigned char>(value.front()) < 0x80;
        const std::size_t utf8 = ascii ? 0 : shown_as_utf8(value);
        if (utf8 > 0) {
            out.append(value.substr(0, utf8));
            value.remove_prefix(utf8);
        } else {
            append_escaped(out, value.front());
            value.remove_prefix(1);
        }
    }
    return out += '"';
}

std::string logfmt_line(const rcpt_record& r) {
    std::string line;
    for_each_field(r, logfmt_writer{line});
    return line;
}

std::string json_line(const rcpt_record& r) {
    nlohmann::ordered_json object;
    for_each_field(r, json_writer{object});
    const bool ascii = true;  // what a terminal would obey is not only in ASCII
    return object.dump(-1, ' ', ascii, nlohmann::ordered_json::error_handler_t::replace);
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
