#include "milter/verdicts/joined_questions.h"

#include <doctest/doctest.h>

#include <future>
#include <vector>

using namespace callforward;
using namespace std::chrono_literals;
using milter::verdicts::joined_questions;

namespace {

using clock = std::chrono::steady_clock;

std::shared_ptr<const smtpclient::verdict> some_verdict() {
    return std::make_shared<const smtpclient::verdict>();
}

}  // namespace

TEST_CASE("the first of equal questions asks, the others wait with it") {
    joined_questions under_way(0);
    const auto first = under_way.join("a");
    const auto second = under_way.join("a");
    const auto other = under_way.join("b");
    CHECK(first.is_first);
    CHECK_FALSE(second.is_first);
    CHECK(other.is_first);
    CHECK(first.answer == second.answer);
    CHECK(first.answer != other.answer);
    CHECK(under_way.size() == 2);
}

TEST_CASE("an answer reaches all who wait, and whoever has not begun to wait yet") {
    joined_questions under_way(0);
    std::vector<std::future<std::shared_ptr<const smtpclient::verdict>>> waiting;
    const auto late = under_way.join("a");
    for (int i = 0; i < 10; ++i) {
        waiting.push_back(std::async(std::launch::async, [ticket = under_way.join("a")] {
            return ticket.answer->wait_until(clock::now() + 20s);
        }));
    }
    const auto v = some_verdict();
    under_way.answer("a", v);
    for (auto& each : waiting) CHECK(each.get() == v);
    CHECK(late.answer->wait_until(clock::now()) == v);
    CHECK(under_way.size() == 0);
    CHECK(under_way.join("a").is_first);
}

TEST_CASE("patience ends without an answer, and the question stays under way") {
    joined_questions under_way(0);
    const auto ticket = under_way.join("a");
    CHECK(ticket.answer->wait_until(clock::now() - 1s) == nullptr);
    CHECK(ticket.answer->wait_until(clock::now() + 10ms) == nullptr);
    CHECK_FALSE(under_way.join("a").is_first);
}

TEST_CASE("beyond the limit nothing new is begun, but what is under way may be joined") {
    joined_questions under_way(2);
    CHECK(under_way.join("a").is_first);
    CHECK(under_way.join("b").is_first);
    CHECK(under_way.join("c").answer == nullptr);
    CHECK(under_way.join("a").answer != nullptr);
    under_way.answer("a", some_verdict());
    CHECK(under_way.join("c").is_first);
}

TEST_CASE("an answer that nobody asked for is nothing") {
    joined_questions under_way(0);
    under_way.answer("a", some_verdict());
    CHECK(under_way.size() == 0);
}
