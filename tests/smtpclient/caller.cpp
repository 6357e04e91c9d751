#include "tests/smtpclient/caller.h"

#include <asio/co_spawn.hpp>
#include <doctest/doctest.h>

#include <optional>
#include <stdexcept>

namespace callforward::testing {

using namespace smtpclient;
using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

// A peer that keeps a question beyond its deadline keeps it for ever, or for a reply timeout.
constexpr auto for_a_slow_machine = 10s;

session_limits single_use() {
    session_limits limits;
    limits.idle_session = 0ms;
    limits.host_penalty = 0ms;
    return limits;
}

caller::caller(reach r, const session_limits& limits, sts_fetcher fetch)
    : resolver(loop.get_executor()),
      forward_(loop.get_executor(),
               resolver,
               std::move(r),
               limits,
               std::make_shared<mta_sts>(loop.get_executor(), std::move(fetch))) {}

verdict caller::ask(question q) {
    const auto begin = steady::now();
    const auto deadline = q.deadline;
    std::optional<verdict> got;
    auto call = forward_.verify(std::move(q));
    asio::co_spawn(loop, std::move(call), [&](const std::exception_ptr& thrown, verdict v) {
        if (thrown) std::rethrow_exception(thrown);
        got = std::move(v);
    });
    loop.restart();
    while (!got && loop.run_one_until(deadline + for_a_slow_machine) > 0) {
    }
    const auto end = steady::now();
    took_ = std::chrono::duration_cast<std::chrono::milliseconds>(end - begin);
    REQUIRE(got);
    CHECK(end <= deadline + for_a_slow_machine);
    return std::move(*got);
}

std::string caller::answer(question q) {
    const verdict v = ask(std::move(q));
    return in_words(v.finding, v.stage);
}

void caller::finish() {
    loop.restart();
    loop.run_for(3s);
}

question simple_question() {
    question q = question_of(parse_script("= undetermined timed_out none", "simple.smtp"));
    change(q, [](transport& by) {
        by.reply_timeout = 40s;
        by.connect_timeout = 40s;
    });
    end_within(q, 60s);
    return q;
}

question question_to_mx(std::uint16_t port, const std::string& recipient) {
    question q = simple_question();
    q.recipient = mailbox::parse(recipient).value();
    q.to.recipient_mx = true;
    change(q, [&](transport& by) { by.port = port; });
    return q;
}

void set_hop(question& q, const std::string& hop) {
    std::string error;
    const auto parsed = parse_next_hop(hop, error);
    if (!parsed) throw std::invalid_argument(error);
    q.to.hops.push_back(*parsed);
}

void change(question& q, const std::function<void(transport&)>& how) {
    transport by = *q.by;
    how(by);
    q.by = std::make_shared<const transport>(std::move(by));
}

void end_within(question& q, std::chrono::milliseconds time) {
    q.deadline = steady::now() + time;
}

script host_steps(const std::string& steps) {
    return parse_script(steps + "\n= undetermined timed_out none\n", "host.smtp");
}

script host_saying(const std::string& reply_to_rcpt) {
    return host_steps(
        "S: 220 mx.next.test\nC: EHLO *\nS: 250 mx.next.test\nC: MAIL *\nS: 250 ok\n"
        "C: RCPT *\nS: " +
        reply_to_rcpt);
}

const certificate& shared_identity() {
    static const certificate identity = certificate_authority().issue("mx.next.test");
    return identity;
}

}  // namespace callforward::testing
