// The operator's own rules about replies ([[classify]], classify.h), by themselves.
//
// They speak of the recipient from RCPT on, of the sender from MAIL on. Before MAIL only a reply
// that ends the conversation is classified. Pure; any thread.
#pragma once

#include "smtpclient/classify.h"

#include <optional>
#include <string>
#include <vector>

namespace callforward::smtpclient {

// All of them; two lists with the same text say the same of every reply.
[[nodiscard]] std::string text_of(const std::vector<classify_rule>& rules);
// What the first one that has a say makes of it; nothing when none has.
[[nodiscard]] std::optional<finding> classify_locally(const reply& r,
                                                      const reply_context& context,
                                                      const std::vector<classify_rule>& rules);

}  // namespace callforward::smtpclient
