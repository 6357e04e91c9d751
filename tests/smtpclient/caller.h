// The real call_forward in an event loop of its own, with a fake resolver, asking one question
// after the other.
#pragma once

#include "smtpclient/call_forward.h"
#include "tests/smtpclient/fake_resolver.h"
#include "tests/smtpclient/script_question.h"
#include "tests/support/certificates.h"

#include <asio/io_context.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace callforward::testing {

// A session for each question, no memory of hosts that failed: what a script plays.
[[nodiscard]] smtpclient::session_limits single_use();

class caller {
public:
    explicit caller(smtpclient::reach r = {},
                    const smtpclient::session_limits& limits = single_use(),
                    smtpclient::sts_fetcher fetch = smtpclient::fetch_sts_policy);

    // Runs the loop until the verdict is there; that it is there in time is checked.
    [[nodiscard]] smtpclient::verdict ask(smtpclient::question q);
    // The same, in a script's words.
    [[nodiscard]] std::string answer(smtpclient::question q);
    // Lets goodbyes and other rests end.
    void finish();
    [[nodiscard]] std::chrono::milliseconds took() const { return took_; }

    asio::io_context loop{1};
    fake_resolver resolver;

private:
    smtpclient::call_forward forward_;
    std::chrono::milliseconds took_{0};
};

// bob@next.test, asked for by alice@sender.test; a minute for all, reply and connect timeouts of
// forty seconds: as good as none.
[[nodiscard]] smtpclient::question simple_question();
[[nodiscard]] smtpclient::question question_to_mx(std::uint16_t port,
                                                  const std::string& recipient = "bob@next.test");
void set_hop(smtpclient::question& q, const std::string& hop);  // as in a configured route
void change(smtpclient::question& q, const std::function<void(smtpclient::transport&)>& how);
void end_within(smtpclient::question& q, std::chrono::milliseconds time);

// A conversation that ends with this reply to RCPT.
[[nodiscard]] script host_saying(const std::string& reply_to_rcpt);
[[nodiscard]] script host_steps(const std::string& steps);
[[nodiscard]] const certificate& shared_identity();  // made once

}  // namespace callforward::testing
