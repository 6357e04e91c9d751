#include "smtpclient/watchdog.h"

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <doctest/doctest.h>

#include <optional>

using namespace callforward::smtpclient;
using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

TEST_CASE("a watchdog barks at its deadline, once") {
    asio::io_context loop;
    int barks = 0;
    watchdog dog(loop.get_executor(), [&] { ++barks; });
    const auto begin = steady::now();
    dog.arm(begin + 20ms);
    loop.run();
    CHECK(steady::now() >= begin + 20ms);
    CHECK(barks == 1);
    CHECK(dog.expired());
}

TEST_CASE("a deadline that has passed already barks at the next turn of the loop, not before") {
    asio::io_context loop;
    int barks = 0;
    watchdog dog(loop.get_executor(), [&] { ++barks; });
    dog.arm(steady::now() - 1s);
    CHECK(barks == 0);
    loop.run();
    CHECK(barks == 1);
}

TEST_CASE("a disarmed watchdog is silent") {
    asio::io_context loop;
    int barks = 0;
    watchdog dog(loop.get_executor(), [&] { ++barks; });
    dog.arm(steady::now() + 20ms);
    dog.disarm();
    loop.run();
    CHECK(barks == 0);
    CHECK_FALSE(dog.expired());
}

TEST_CASE("a watchdog that is gone holds no loop up") {
    asio::io_context loop;
    std::optional<watchdog> dog(std::in_place, loop.get_executor(), [] {});
    dog->arm(steady::now() + 1h);
    dog->disarm();
    dog.reset();
    const auto begin = steady::now();
    loop.run();
    CHECK(steady::now() - begin < 5s);
}

TEST_CASE("a watchdog armed for later keeps the new deadline, one armed for sooner as well") {
    asio::io_context loop;
    int barks = 0;
    const auto begin = steady::now();
    steady::time_point barked;
    const auto bark = [&] {
        ++barks;
        barked = steady::now();
    };
    watchdog later(loop.get_executor(), bark);
    later.arm(begin + 10ms);
    later.disarm();
    later.arm(begin + 60ms);
    loop.run();
    CHECK(barks == 1);
    CHECK(barked >= begin + 60ms);
    loop.restart();
    watchdog sooner(loop.get_executor(), bark);
    sooner.arm(barked + 1h);
    sooner.arm(barked + 10ms);
    loop.run();
    CHECK(barks == 2);
    CHECK(steady::now() - begin < 5s);
}

TEST_CASE("a watchdog armed again forgets the deadline before") {
    asio::io_context loop;
    int barks = 0;
    watchdog dog(loop.get_executor(), [&] { ++barks; });
    const auto begin = steady::now();
    dog.arm(begin - 1s);
    dog.arm(begin + 30ms);
    loop.run();
    CHECK(steady::now() >= begin + 30ms);
    CHECK(barks == 1);
}

TEST_CASE("a watchdog disarmed while its bark is on the way is silent") {
    asio::io_context loop;
    int barks = 0;
    watchdog dog(loop.get_executor(), [&] { ++barks; });
    watchdog other(loop.get_executor(), [&] { dog.disarm(); });
    // Both deadlines have passed when the loop first looks; both handlers are queued together.
    other.arm(steady::now() - 2s);
    dog.arm(steady::now() - 1s);
    loop.run();
    CHECK(barks == 0);
    CHECK_FALSE(dog.expired());
}

TEST_CASE("a watchdog that is gone touches nothing") {
    asio::io_context loop;
    int barks = 0;
    std::optional<watchdog> dog(std::in_place, loop.get_executor(), [&] { ++barks; });
    watchdog other(loop.get_executor(), [&] { dog.reset(); });
    other.arm(steady::now() - 2s);
    dog->arm(steady::now() - 1s);
    loop.run();
    CHECK(barks == 0);
}
