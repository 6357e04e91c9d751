// A log line: one line without control bytes, whatever the values are, and a reader that knows
// nothing of callforward gets the same keys (in JSON the level, too) and the same bytes back, from
// logfmt and from JSON. The input: three bytes, then the texts of a RCPT's record, a NUL after
// each.
#include "milter/log_line.h"
#include "tests/fuzz/input.h"

#include <nlohmann/json.hpp>

#include <cstdlib>
#include <utility>
#include <vector>

using namespace callforward;
using fields = std::vector<std::pair<std::string, std::string>>;

namespace {

constexpr std::size_t longest_value = 1000;

int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    std::abort();
}

char take(std::string_view& line) {
    if (line.empty()) std::abort();
    const char c = line.front();
    line.remove_prefix(1);
    return c;
}

std::string take_value(std::string_view& line) {
    std::string value;
    if (!line.starts_with('"')) {
        const auto end = std::min(line.find(' '), line.size());
        value = line.substr(0, end);
        line.remove_prefix(end);
        return value;
    }
    take(line);
    for (char c = take(line); c != '"'; c = take(line)) {
        if (c != '\\') {
            value += c;
            continue;
        }
        const char escape = take(line);
        if (escape == 'x') {
            const int high = hex(take(line));
            value += static_cast<char>(high * 16 + hex(take(line)));
        } else {
            value += escape == 'n' ? '\n' : escape == 'r' ? '\r' : escape == 't' ? '\t' : escape;
        }
    }
    return value;
}

fields read_logfmt(std::string_view line) {
    fields found;
    for (;;) {
        const auto equals = line.find('=');
        if (equals == std::string_view::npos) std::abort();
        std::string key(line.substr(0, equals));
        line.remove_prefix(equals + 1);
        found.emplace_back(std::move(key), take_value(line));
        if (line.empty()) return found;
        if (take(line) != ' ') std::abort();
    }
}

void check_clean(std::string_view line, bool ascii) {
    for (const char c : line) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f || (ascii && byte > 0x7f)) std::abort();
    }
    // C1 controls, and what reorders a line, begin so in UTF-8.
    if (line.find("\xc2\x9b") != std::string_view::npos) std::abort();
    if (line.find("\xe2\x80\xae") != std::string_view::npos) std::abort();
}

bool is_plain_ascii(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::input in(data, size);
    milter::rcpt_record r;
    r.reason = in.one_of(smtpclient::reason::off);
    r.stage = in.one_of(smtpclient::stage::rcpt);
    if (const int code = in.byte(); code > 0) r.code = code;
    std::vector<std::pair<std::string, std::string_view*>> texts{{"rcpt", &r.rcpt},
                                                                 {"from", &r.from},
                                                                 {"client", &r.client},
                                                                 {"domain", &r.domain},
                                                                 {"route", &r.route},
                                                                 {"host", &r.host},
                                                                 {"address", &r.address},
                                                                 {"tls", &r.tls},
                                                                 {"enhanced", &r.enhanced},
                                                                 {"text", &r.text}};
    std::vector<std::string> values;  // the record only looks at them
    for (std::size_t i = 0; i < texts.size(); ++i) values.emplace_back(in.text());
    values.back() += in.rest();  // with NULs
    for (std::size_t i = 0; i < texts.size(); ++i) *texts[i].second = values[i];

    const std::string line = milter::logfmt_line(r);
    check_clean(line, false);
    const fields found = read_logfmt(line);
    const std::string json = milter::json_line(r);
    check_clean(json, true);
    const auto object = nlohmann::json::parse(json);
    // JSON has the level beside them, which logfmt leaves to the log.
    if (object.size() != found.size() + 1 || !object.contains("level")) std::abort();
    for (const auto& [key, value] : found) {
        if (!object.contains(key)) std::abort();
    }
    for (const auto& [key, value] : texts) {
        const std::string cut(value->substr(0, longest_value));
        const auto has = [&, k = key](const auto& field) { return field.first == k; };
        const auto at = std::find_if(found.begin(), found.end(), has);
        if (at == found.end() || at->second != cut) std::abort();
        if (cut.empty() != object[key].is_null()) std::abort();
        if (!cut.empty() && is_plain_ascii(cut) && object[key] != cut) std::abort();
    }
    const std::string other = milter::message_line(milter::log_format::logfmt,
                                                   milter::log_level::warning,
                                                   "a message",
                                                   {{"one", r.rcpt}, {"two", r.text}});
    check_clean(other, false);
    return 0;
}
