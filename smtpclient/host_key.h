// What makes two targets one host, whose sessions and limits are shared: who it is, and how it is
// spoken to.
//
// All that an opening depends on is in the key, its time included: what one question finds out
// about the host, its penalty too, holds for all that share it. Printable as far as the
// configuration and names from DNS are; no secret is in it, since it is shown
// (callforward-control(8)). Any thread.
#pragma once

#include "smtpclient/question.h"
#include "smtpclient/targets.h"

#include <string>

namespace callforward::smtpclient {

// helo: the name that this host is greeted with.
[[nodiscard]] std::string host_key(const target& t, const question& q, const std::string& helo);

}  // namespace callforward::smtpclient
