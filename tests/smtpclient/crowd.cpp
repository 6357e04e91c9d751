#include "tests/smtpclient/crowd.h"

#include "tests/smtpclient/caller.h"

#include <asio/co_spawn.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <utility>

namespace callforward::testing {

using namespace smtpclient;
using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

session_limits brief_sessions() {
    session_limits limits;
    limits.idle_session = 300ms;
    limits.host_penalty = 0ms;
    return limits;
}

session_limits kept_sessions() {
    session_limits limits = brief_sessions();
    limits.idle_session = 20s;
    return limits;
}

bool crowd::asker::accepted() const {
    return told && told->outcome() == outcome::deliverable;
}

std::string crowd::asker::words() const {
    return told ? in_words(told->finding, told->stage) : "no answer";
}

bool crowd::asker::is_right() const {
    if (!told || !told->reply || told->stage != stage::rcpt) return false;
    if (told->reply->text().find(recipient) == std::string::npos) return false;
    const outcome expected = recipient.starts_with("known")   ? outcome::deliverable
                             : recipient.starts_with("later") ? outcome::undetermined
                                                              : outcome::undeliverable;
    return told->outcome() == expected;
}

bool crowd::asker::is_right_or_undetermined() const {
    return is_right() || (told && told->outcome() == outcome::undetermined);
}

crowd::crowd(const session_limits& limits)
    : resolver(loop.get_executor()),
      forward_(std::make_unique<call_forward>(loop.get_executor(), resolver, reach{}, limits)) {}

std::string crowd::words_of(question q) {
    const asker& one = ask(std::move(q));
    run();
    return one.words();
}

crowd::asker& crowd::ask(question q) {
    asker& mine = askers_.emplace_back();
    mine.recipient = q.recipient.address();
    ++unanswered_;
    const auto begin = steady::now();
    auto call = forward_->verify(std::move(q));
    asio::co_spawn(
        loop, std::move(call), [&mine, this, begin](const std::exception_ptr& thrown, verdict v) {
            if (thrown) std::rethrow_exception(thrown);
            mine.told = std::move(v);
            mine.after =
                std::chrono::duration_cast<std::chrono::milliseconds>(steady::now() - begin);
            --unanswered_;
        });
    return mine;
}

crowd::asker& crowd::ask(const std::string& hop,
                         const std::string& local_part,
                         const std::string& sender) {
    question q = question_for(hop, local_part);
    q.sender = sender;
    return ask(std::move(q));
}

void crowd::run() {
    REQUIRE(run_until([this] { return unanswered_ == 0; }, 65s));
}

bool crowd::run_until(const std::function<bool()>& it, std::chrono::milliseconds at_most) {
    const auto end = steady::now() + at_most;
    loop.restart();
    while (!it() && loop.run_one_until(end) > 0) {
    }
    return it();
}

void crowd::run_for(std::chrono::milliseconds time) {
    loop.restart();
    loop.run_for(time);
}

void crowd::settle() {
    loop.restart();
    while (loop.run_one_for(5ms) > 0) {
    }
}

std::size_t crowd::wrong() const {
    return static_cast<std::size_t>(std::count_if(
        askers_.begin(), askers_.end(), [](const asker& a) { return !a.is_right(); }));
}

question question_for(const std::string& hop, const std::string& local_part) {
    question q = simple_question();
    q.recipient = mailbox::parse(local_part + "@next.test").value();
    set_hop(q, hop);
    return q;
}

}  // namespace callforward::testing
