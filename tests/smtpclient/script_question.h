// From a script to the question that its conversation answers, and the verdict in a script's words.
//
// Settings that a script leaves out: alice@sender.test asks for bob@next.test, as client.test, by
// SMTP, with tls = may.
#pragma once

#include "smtpclient/dialogue.h"
#include "smtpclient/question.h"
#include "smtpclient/verdict.h"
#include "tests/support/script.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace callforward::testing {

// All of tests/scripts, read once.
[[nodiscard]] const std::vector<script>& all_scripts();

[[nodiscard]] smtpclient::tls_level tls_of(const script& s);
[[nodiscard]] smtpclient::protocol protocol_of(const script& s);
[[nodiscard]] smtpclient::credentials login_of(const script& s);
[[nodiscard]] std::optional<smtpclient::client_identity> client_of(const script& s);
[[nodiscard]] std::optional<std::string> fallback_of(const script& s);
[[nodiscard]] smtpclient::opening::options opening_options_of(const script& s);

// Without destination and deadline. Reply and connect timeouts are the transport's defaults.
[[nodiscard]] smtpclient::question question_of(const script& s);

// "undetermined disconnected rcpt"
[[nodiscard]] std::string in_words(const smtpclient::finding& f, smtpclient::stage at);
[[nodiscard]] std::string in_words(const script_result& result);

[[nodiscard]] bool has_step(const script& s, step_kind kind);

// The stage at which a client is that has got all of the first `steps` steps, and nothing since:
// what a script cut there must be undetermined at. Read off the script alone.
[[nodiscard]] std::string stage_after(const script& s, std::size_t steps);

// Scripts that keep to the protocol up to an answer to RCPT, and how many steps that takes; 0 for
// all others.
[[nodiscard]] std::size_t steps_until_answer(const script& s);

// True after so many steps: the last one was the server's and ended a reply, the client's turn.
[[nodiscard]] bool ends_reply(const script_step& step);

}  // namespace callforward::testing
