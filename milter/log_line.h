// The one line that is logged for each RCPT (INTERFACE section 6), as logfmt or JSON. Pure.
//
// All keys are always written, in the order of rcpt_record. Every value is untrusted and cut to
// 1,000 bytes. logfmt: a value that is empty or holds a blank, '"', '=', '\', a control byte or
// anything beyond ASCII is quoted; inside quotes \" \\ \n \r \t and \xHH stand for what can not be
// printed, so that a reader gets the very bytes back, and what a peer sends can not begin a key or
// a line. Well-formed UTF-8 is kept, except what would reorder a terminal's line. JSON: one object
// in pure ASCII, bytes that are no UTF-8 replaced, numbers as numbers, with "level" in front:
// always "info". What is unknown is key="" in logfmt and null in JSON; the null sender is written
// "<>".
#pragma once

#include "milter/settings.h"
#include "smtpclient/verdict.h"

#include <chrono>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace callforward::milter {

enum class source { probe, cache, stale, shared, none };
[[nodiscard]] std::string_view to_string(source s);

struct rcpt_record {      // of texts that are another's: they have to live until the line is made
    std::string_view id;  // make_trace_id()
    std::string_view rcpt;
    std::string_view from;  // "<>" for the null sender
    std::string_view client;
    std::string_view domain;
    std::string_view route;
    std::string_view host;
    std::string_view address;
    std::string_view tls;
    smtpclient::stage stage = smtpclient::stage::none;  // none: unknown
    std::optional<int> code;                            // of the next hop
    std::string_view enhanced;
    smtpclient::outcome outcome = smtpclient::outcome::undetermined;
    smtpclient::reason reason = smtpclient::reason::off;
    smtpclient::verdict_class verdict_class = smtpclient::verdict_class::skipped;  // key "class"
    milter::action action = action::accept;
    policy_mode mode = policy_mode::enforce;
    milter::source source = source::none;
    std::optional<std::chrono::milliseconds> elapsed;  // key "elapsed_ms"
    std::string_view text;
};

// Without a line end. append_logfmt_line() allocates nothing but what `to` has to grow.
void append_logfmt_line(std::string& to, const rcpt_record& r);
[[nodiscard]] std::string logfmt_line(const rcpt_record& r);
[[nodiscard]] std::string json_line(const rcpt_record& r);

// Of a field: an untrusted text, or a number. Like a view: what it is of has to live on.
class log_value {
public:
    log_value(std::string_view text) : text_(text) {}    // NOLINT(google-explicit-constructor)
    log_value(const std::string& text) : text_(text) {}  // NOLINT(google-explicit-constructor)
    log_value(const char* text) : text_(text) {}         // NOLINT(google-explicit-constructor)
    template <std::integral Number>
    log_value(Number number)  // NOLINT(google-explicit-constructor)
        : number_(static_cast<std::int64_t>(number)) {}

    [[nodiscard]] std::string_view text() const { return text_; }
    [[nodiscard]] std::optional<std::int64_t> number() const { return number_; }

private:
    std::string_view text_;
    std::optional<std::int64_t> number_;
};

using log_fields = std::initializer_list<std::pair<std::string_view, log_value>>;
// Every other line: a constant text for people, and values. logfmt: "warning: text key=value",
// without the level where it is info; JSON: {"level", "message", then the fields}.
[[nodiscard]] std::string message_line(log_format format,
                                       log_level level,
                                       std::string_view message,
                                       log_fields with);

// One value as logfmt writes it; for the other lines of the log.
[[nodiscard]] std::string logfmt_value(std::string_view untrusted);

// Seven characters of base32 in lower case (RFC 4648 section 6): the low 35 bits of number.
constexpr std::uint64_t trace_id_bits = (std::uint64_t{1} << 35U) - 1;
[[nodiscard]] std::string make_trace_id(std::uint64_t number);

}  // namespace callforward::milter
