// Who brings changes to the shared store does not end before its work.
#include "milter/fleet/change_writer.h"

#include "tests/milter/fleet/played_store.h"

#include <doctest/doctest.h>

#include <new>

using namespace callforward;
using namespace std::chrono_literals;
using milter::fleet::change_lives;
using milter::fleet::change_writer;
using milter::fleet::store_options;
using milter::fleet::trouble;
using milter::fleet::unwritten_changes;
using milter::verdicts::change;

TEST_CASE("for want of memory a change is written later, as after any other failure") {
    const tests::redis_server redis;
    std::size_t said = 0;
    store_options o;
    o.timeout = 10s;  // the machine may be busy
    o.first_pause = 5ms;
    o.longest_pause = 20ms;
    o.say = [&](milter::log_level, std::string_view line, milter::log_fields) {
        if (line.starts_with("the shared store does not take a change now")) ++said;
    };
    unwritten_changes changes;
    tests::edge_loop e(redis.path(), o);
    REQUIRE(e.becomes(trouble::none));
    int times = 0;
    const auto lives = [&] {
        if (++times <= 3) throw std::bad_alloc();
        return change_lives{1h, 1h};
    };
    const auto writer = std::make_shared<change_writer>(
        e.executor(), e.store().shared_from_this(), changes, "one", lives, [] {});
    writer->start();
    changes.put({{change::kind::forget_address, "u@a.test"}}, std::chrono::steady_clock::now());
    writer->look();
    REQUIRE(e.within(30s, [&] { return said == 1; }));
    CHECK_FALSE(changes.wait(0, 10h).written);
    CHECK(e.within(30s, [&] { return changes.size() == 0; }));
    CHECK(times == 4);
    CHECK(said == 1);
    writer->stop();
}

TEST_CASE("more changes than there is room for are said once to become whole domains") {
    std::size_t said = 0;
    store_options o;
    o.first_pause = 5ms;
    o.longest_pause = 20ms;
    o.say = [&](milter::log_level, std::string_view line, milter::log_fields) {
        if (line.starts_with("too many changes wait")) ++said;
    };
    unwritten_changes changes;
    tests::edge_loop e("/nowhere", o);
    REQUIRE(e.becomes(trouble::unreachable));
    int attempts = 0;
    const auto lives = [&] {
        ++attempts;
        return change_lives{1h, 1h};
    };
    const auto writer = std::make_shared<change_writer>(
        e.executor(), e.store().shared_from_this(), changes, "one", lives, [] {});
    writer->start();
    std::vector<change> many;
    for (std::size_t i = 0; i <= unwritten_changes::most; ++i) {
        many.push_back({change::kind::forget_address, std::to_string(i) + "@a.test"});
    }
    for (int times = 0; times < 2; ++times) {
        changes.put(many, std::chrono::steady_clock::now());
        writer->look();
        // The first of these has failed when the second begins.
        const int before = attempts;
        CHECK(e.within(30s, [&] { return attempts >= before + 2; }));
        CHECK_FALSE(changes.wait(0, 0ms).written);
    }
    CHECK(said == 1);
    writer->stop();
}
