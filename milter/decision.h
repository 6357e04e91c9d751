// What the MTA is told about a recipient: verdict + policy -> continue, or code, enhanced code and
// text (INTERFACE section 5). Pure.
//
// The class of the verdict chooses the action by the policy's on_* keys; mode is the caller's, who
// wants a decision to log also where it is not carried out. A reject has a code in 500..559, a
// tempfail one in 400..459, the enhanced code agrees with it, and the text is one line of printable
// ASCII of at most 400 bytes. 421 ends the SMTP session in both MTAs: no verdict comes to it, and
// only too_many_unknown() says it. A '%' in the text is a single '%': the door has to
// double it for smfi_setreply. In the text of a next hop its names and addresses are taken out as
// far as the verdict knows them.
#pragma once

#include "milter/settings.h"
#include "smtpclient/mailbox.h"
#include "smtpclient/verdict.h"

#include <string>
#include <string_view>

namespace callforward::milter {

struct decision {
    milter::action action = action::accept;
    int code = 0;          // 0 for accept, whose text is empty as well
    std::string enhanced;  // "5.1.1"
    std::string text;

    bool operator==(const decision&) const = default;
};

// recipient is who the verdict is about, or nothing when its address was no mailbox.
[[nodiscard]] decision decide(const smtpclient::verdict& v,
                              const policy& p,
                              const smtpclient::mailbox* recipient);

// The same with an action that a policy script chose, and with its text unless that says nothing.
// Code and enhanced code agree with the action also where the verdict has none of its kind.
[[nodiscard]] decision decide_as(action a,
                                 std::string_view untrusted_text,
                                 const smtpclient::verdict& v,
                                 const policy& p,
                                 const smtpclient::mailbox* recipient);

[[nodiscard]] decision still_pending();     // 450 4.2.0: time is up, the answer is under way
[[nodiscard]] decision shutting_down();     // 451 4.3.0
[[nodiscard]] decision internal_error();    // 451 4.3.0
[[nodiscard]] decision too_many_unknown();  // 421 4.7.1: the client is sent away, session and all
[[nodiscard]] decision domain_suspended();  // 450 4.3.0: instead of a reject, see interlock.h

// For a client that is refused or put off: " (cf-" id ")" behind the text, which stays within its
// limit.
void add_trace_id(decision& d, std::string_view id);

// The enhanced code that stands for a finding where the next hop gave none; status_class says which
// of its two forms.
[[nodiscard]] smtpclient::enhanced_code default_enhanced_code(const smtpclient::finding& f,
                                                              int status_class);
// Our own words for a finding, as told to the sender.
[[nodiscard]] std::string sentence(const smtpclient::finding& f, action a);

}  // namespace callforward::milter
