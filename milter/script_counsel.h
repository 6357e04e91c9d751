// What the script of a policy counsels about one RCPT, where it has any to give.
//
// The two places at which recipient_check asks it. A script that fails counsels nothing, which is
// told to the log: the policy then holds as configured, and no error accepts or rejects.
#pragma once

#include "milter/script.h"

#include <string>

namespace callforward::milter {

// Both need by.script. The wishes are empty but for the error, where there is one.
[[nodiscard]] script_wishes counsel_before(const script_subject& about, const policy& by);
// True when d is another decision now. A verdict that was skipped is nobody's business.
[[nodiscard]] bool counsel_after(const script_subject& about,
                                 const smtpclient::verdict& v,
                                 source from,
                                 const policy& by,
                                 decision& d,
                                 std::string* error = nullptr);

}  // namespace callforward::milter
