// The one line that is logged for each RCPT (INTERFACE section 6), as logfmt or JSON. Pure.
//
// All keys are always written, in the order of rcpt_record. Every value is untrusted and cut to
// 1,000 bytes. logfmt: a value that is empty or holds a blank, '"', '=', '\', a control byte or
// anything beyond ASCII is quoted; inside quotes \" \\ \n \r \t and \xHH stand for what can not be
// printed, so that a reader gets the very bytes back, and what a peer sends can not begin a key or
// a line. Well-formed UTF-8 is kept, except what would reorder a terminal's line. JSON: one object
// in pure ASCII, bytes that are no UTF-8 replaced, numbers as numbers. What is unknown is key="" in
// logfmt and null in JSON; the null sender is written "<>".
#pragma once

#include "milter/settings.h"
#include "smtpclient/verdict.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace callforward::milter {

enum class source { probe, cache, stale, shared, none };
[[nodiscard]] std::string_view to_string(source s);

struct rcpt_record {
    std::string id;  // make_trace_id()
    std::string rcpt;
    std::string from;  // "<>" for the null sender
    std::string client;
    std::string domain;
    std::string route;
    std::string host;
    std::string address;
    std::string tls;
    smtpclient::stage stage = smtpclient::stage::none;  // none: unknown
    std::optional<int> code;                            // of the next hop
    std::string enhanced;
    smtpclient::outcome outcome = smtpclient::outcome::undetermined;
    smtpclient::reason reason = smtpclient::reason::off;
    smtpclient::verdict_class verdict_class = smtpclient::verdict_class::skipped;  // key "class"
    milter::action action = action::accept;
    policy_mode mode = policy_mode::enforce;
    milter::source source = source::none;
    std::optional<std::chrono::milliseconds> elapsed;  // key "elapsed_ms"
    std::string text;
};

// Without a line end.
[[nodiscard]] std::string logfmt_line(const rcpt_record& r);
[[nodiscard]] std::string json_line(const rcpt_record& r);

// One value as logfmt writes it; for the other lines of the log.
[[nodiscard]] std::string logfmt_value(std::string_view untrusted);

// Seven characters of base32 in lower case (RFC 4648 section 6): the low 35 bits of number.
[[nodiscard]] std::string make_trace_id(std::uint64_t number);

}  // namespace callforward::milter
