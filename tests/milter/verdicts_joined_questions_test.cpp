#include "milter/verdicts/joined_questions.h"

#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <vector>

using namespace callforward;
using milter::verdicts::joined_questions;

namespace {

const auto verdict = std::make_shared<const smtpclient::verdict>();

// How many of 100 new questions of the domain may begin.
int begun(joined_questions& q, const std::string& domain) {
    int first = 0;
    for (int i = 0; i < 100; ++i) {
        if (q.join(std::to_string(i) + '@' + domain, domain).is_first) ++first;
    }
    return first;
}

}  // namespace

TEST_CASE("Who asks what is under way joins it, and gets the same answer") {
    joined_questions q(10);
    const auto first = q.join("a", "a.test");
    const auto second = q.join("a", "a.test");
    CHECK(first.is_first);
    CHECK_FALSE(second.is_first);
    CHECK(first.answer == second.answer);
    q.answer("a", verdict);
    CHECK(second.answer->wait_until({}) == verdict);
    CHECK(q.size() == 0);
    CHECK(q.join("a", "a.test").is_first);
}

TEST_CASE("Beyond the limit no question begins, and one that ends makes room") {
    joined_questions q(3);
    CHECK(begun(q, "a.test") == 3);
    const auto none = q.join("new", "b.test");
    CHECK_FALSE(none.answer);
    CHECK_FALSE(none.domain_is_full);
    CHECK(q.join("0@a.test", "a.test").answer);
    q.answer("0@a.test", verdict);
    CHECK(q.join("new", "b.test").is_first);
}

TEST_CASE("One domain holds its share of the questions and leaves the others theirs") {
    joined_questions q(40, 25);
    CHECK(begun(q, "a.test") == 10);
    const auto none = q.join("new", "a.test");
    CHECK_FALSE(none.answer);
    CHECK(none.domain_is_full);
    CHECK(q.join("3@a.test", "a.test").answer);
    CHECK(begun(q, "b.test") == 10);
    q.answer("3@a.test", verdict);
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
                if (q.join(key, domain).is_first) q.answer(key, verdict);
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(q.size() == 0);
    CHECK(begun(q, "d0.test") == 25);
}
