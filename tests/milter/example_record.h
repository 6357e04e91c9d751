// A RCPT as the log tells it: a refusal with all that a line can have, but TLS.
#pragma once

#include "milter/log_line.h"

#include <chrono>

namespace callforward::tests {

inline milter::rcpt_record example_record() {
    milter::rcpt_record r;
    r.id = "aaaaaab";
    r.rcpt = "u@a1.test";
    r.from = "<>";
    r.client = "192.0.2.1";
    r.domain = "a1.test";
    r.route = "[10.0.0.5]:25";
    r.host = "10.0.0.5";
    r.address = "10.0.0.5";
    r.stage = smtpclient::stage::rcpt;
    r.code = 550;
    r.enhanced = "5.1.1";
    r.outcome = smtpclient::outcome::undeliverable;
    r.reason = smtpclient::reason::unknown_user;
    r.verdict_class = smtpclient::verdict_class::undeliverable;
    r.action = milter::action::reject;
    r.source = milter::source::probe;
    r.elapsed = std::chrono::milliseconds(12);
    r.text = "No \"such\" user";
    return r;
}

}  // namespace callforward::tests
