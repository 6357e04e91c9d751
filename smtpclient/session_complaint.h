// Whether a refusal may be about the session it came in: a next hop that takes one message, or a
// few recipients, in each connection refuses the next one in words that a reader takes for a
// verdict ("550 5.7.1 only one message per connection").
//
// Errs on the side of the session: who is in doubt is asked about once more, in one of its own.
#pragma once

#include "smtpclient/reply.h"

#include <string>

namespace callforward::smtpclient {

// RFC 5321 section 4.5.3.1.10, RFC 3463 x.5.3: no doubt about it.
[[nodiscard]] bool is_too_many_recipients(const reply& r);
// The words alone, of a reply at any stage.
[[nodiscard]] bool speaks_of_session(const reply& r);
// Of a refused recipient. A refused MAIL may always be.
[[nodiscard]] bool may_be_about_session(const reply& r);

// "550 5.7.1": what two replies with the same meaning have in common.
[[nodiscard]] std::string code_and_enhanced(const reply& r);

}  // namespace callforward::smtpclient
