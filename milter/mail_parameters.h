// The parameters of the client's MAIL command that are sent on to a next hop.
//
// What is not understood is left out: it is only a hint. Pure; any thread.
#pragma once

#include "smtpclient/question.h"

#include <string>
#include <vector>

namespace callforward::milter {

[[nodiscard]] smtpclient::mail_parameters parse_parameters(
    const std::vector<std::string>& untrusted);

}  // namespace callforward::milter
