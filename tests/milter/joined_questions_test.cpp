#include "milter/verdicts/joined_questions.h"

#include <doctest/doctest.h>

#include <future>
#include <string>
#include <thread>
#include <vector>

using namespace callforward;
using namespace std::chrono_literals;
using milter::verdicts::joined_questions;

namespace {

using clock = std::chrono::steady_clock;

std::shared_ptr<const smtpclient::verdict> some_verdict() {
    return std::make_shared<const smtpclient::verdict>();
}

// How many of 100 new questions of the domain may begin.
int begun(joined_questions& q, const std::string& domain) {
    int first = 0;
    for (int i = 0; i < 100; ++i) {
        if (q.join(std::to_string(i) + '@' + domain, domain).is_first) ++first;
    }
    return first;
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

TEST_CASE("One domain holds its share of the questions and leaves the others theirs") {
    joined_questions q(40, 25);
    CHECK(begun(q, "a.test") == 10);
    const auto none = q.join("new", "a.test");
    CHECK_FALSE(none.answer);
    CHECK(none.domain_is_full);
    CHECK(q.join("3@a.test", "a.test").answer);
    CHECK(begun(q, "b.test") == 10);
    q.answer("3@a.test", some_verdict());
    CHECK(q.join("new", "a.test").is_first);
    CHECK(q.join("newer", "a.test").domain_is_full);
    CHECK(q.size() == 20);
}

TEST_CASE("A share is at least one question, and a share or a limit of 0 is none") {
    joined_questions small(3, 1);
    CHECK(begun(small, "a.test") == 1);
    CHECK(begun(small, "b.test") == 1);
    joined_questions no_share(50, 0);
    CHECK(begun(no_share, "a.test") == 50);
    joined_questions no_limit(0, 25);
    CHECK(begun(no_limit, "a.test") == 100);
}

TEST_CASE("New limits hold for the questions that begin after them") {
    joined_questions q(40, 25);
    CHECK(begun(q, "a.test") == 10);
    q.use(40, 50);
    CHECK(begun(q, "b.test") == 20);
    q.use(5, 50);
    CHECK_FALSE(q.join("new", "c.test").answer);
    CHECK(q.size() == 30);
}

TEST_CASE("Questions that begin and end on many threads leave nothing behind") {
    joined_questions q(100, 25);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&q, t] {
            const std::string domain = "d" + std::to_string(t % 2) + ".test";
            for (int i = 0; i < 2000; ++i) {
                const std::string key = std::to_string(i % 50) + '@' + domain;
                if (q.join(key, domain).is_first) q.answer(key, some_verdict());
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(q.size() == 0);
    CHECK(begun(q, "d0.test") == 25);
}
