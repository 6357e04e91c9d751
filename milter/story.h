// The whole story of one decision, for `callforward explain`: what each step saw and why it chose.
//
// Filled by recipient_check::explain(), which takes the same steps as check(). Texts are untrusted;
// who prints them makes them printable. A plain value.
#pragma once

#include "milter/decision.h"
#include "milter/log_line.h"
#include "milter/settings.h"
#include "milter/verdicts/memory.h"
#include "smtpclient/verdict.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace callforward::milter {

struct story {
    std::string rcpt;
    std::string from;
    std::string client;
    std::string scope_rule;  // the entry that decided, and where it stands; "": scope was not asked
    policy by;
    std::string route;              // the destination; "": none was sought
    bool route_is_assumed = false;  // nobody has told the MTA's
    std::string route_from;         // the id of the decision that the MTA's is known from
    bool is_asked = false;          // a call-forward was made, or would have been
    bool dry = false;
    std::string dialogue;                                // transcript.h
    std::vector<verdicts::known> known_before;           // in memory
    std::shared_ptr<const smtpclient::verdict> verdict;  // nothing: not asked, or no answer in time
    std::string reply_rule;                              // that classified the reply; "": none did
    std::optional<std::chrono::seconds> would_keep;
    source answer_from = source::none;  // of the decision: stale, cache: not by this verdict
    std::string script_error;           // of the policy's script, which then counsels nothing
    bool suspended = false;             // the domain is in the interlock
    decision would;                     // in mode enforce
    bool is_enforced = true;
    std::chrono::milliseconds elapsed{0};
};

}  // namespace callforward::milter
