// The classification of replies: INTERFACE section 5 as one pure table, and the operator's rules
// before it.
//
// A refusal is about the recipient only when it says so. A reply before RCPT never makes a
// recipient undeliverable, whatever a local rule says: rules may only choose undeliverable reasons
// for stages rcpt and data.
#pragma once

#include "smtpclient/verdict.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace re2 {
class RE2;
}

namespace callforward::smtpclient {

struct classify_rule {  // [[classify]]; an unset member matches anything
    std::optional<smtpclient::stage> stage;
    std::optional<int> code;
    std::optional<enhanced_code> enhanced;
    std::shared_ptr<const re2::RE2>
        text;  // shared: rules are copied with the policy that holds them
    smtpclient::reason as = reason::policy;
};
// Compiles an RE2 pattern; on failure nothing, and why in `error`.
[[nodiscard]] std::shared_ptr<const re2::RE2> compile_pattern(const std::string& pattern,
                                                              std::string& error);

struct reply_context {
    smtpclient::stage stage = stage::rcpt;
    bool original_sender = true;  // MAIL carried the sender of the message itself
    std::string_view domain;  // the recipient's, which a reply may repeat: no evidence of policy
};

[[nodiscard]] finding classify(const reply& r,
                               const reply_context& context,
                               const std::vector<classify_rule>& rules = {});
// Which rule made that finding, for people: "[[classify]] rule 2", or a row of the built-in table.
[[nodiscard]] std::string rule_that_fires(const reply& r,
                                          const reply_context& context,
                                          const std::vector<classify_rule>& rules = {});

}  // namespace callforward::smtpclient
