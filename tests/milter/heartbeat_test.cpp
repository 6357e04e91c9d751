#include "milter/heartbeat.h"

#include "milter/log.h"
#include "milter/shard.h"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <thread>

using namespace callforward;
using namespace callforward::milter;
using namespace std::chrono_literals;

namespace {

class counter {
public:
    void count() {
        const std::lock_guard lock(mutex_);
        ++value_;
        changed_.notify_all();
    }
    // False when that does not come within 20 s.
    [[nodiscard]] bool reaches(int value) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, 20s, [&] { return value_ >= value; });
    }
    [[nodiscard]] int value() {
        const std::lock_guard lock(mutex_);
        return value_;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    int value_ = 0;
};

std::vector<std::unique_ptr<shard>> two_shards() {
    std::vector<std::unique_ptr<shard>> shards;
    for (int i = 0; i < 2; ++i) {
        shards.push_back(std::make_unique<shard>(
            dns::resolver_options{}, smtpclient::reach{}, smtpclient::session_limits{}));
    }
    return shards;
}

}  // namespace

TEST_CASE("the watchdog is told again and again while all is well") {
    counter beats;
    const heartbeat h(
        20ms, [](auto) { return true; }, [&] { beats.count(); });
    CHECK(beats.reaches(3));
}

TEST_CASE("the watchdog is told nothing while something is stuck, and again afterwards") {
    log_settings quiet;
    quiet.level = log_level::error;
    log::open(quiet);
    std::atomic<bool> alive = false;
    counter probes;
    counter beats;
    const heartbeat h(
        20ms,
        [&](auto) {
            probes.count();
            return alive.load();
        },
        [&] { beats.count(); });
    REQUIRE(probes.reaches(5));
    CHECK(beats.value() == 0);
    alive = true;
    CHECK(beats.reaches(2));
}

TEST_CASE("a probe may take a quarter of the watchdog's time") {
    std::promise<std::chrono::milliseconds> given;
    std::atomic<bool> once = false;
    const heartbeat h(
        30s,
        [&](std::chrono::milliseconds at_most) {
            if (!once.exchange(true)) given.set_value(at_most);
            return true;
        },
        [] {});
    CHECK(given.get_future().get() == 7500ms);
}

TEST_CASE("a heartbeat ends at once, though its next beat is far away") {
    counter beats;
    const auto begin = std::chrono::steady_clock::now();
    {
        const heartbeat h(
            1h, [](auto) { return true; }, [&] { beats.count(); });
        REQUIRE(beats.reaches(1));
    }
    CHECK(std::chrono::steady_clock::now() - begin < 60s);
}

TEST_CASE("event loops that turn are found alive") {
    const auto shards = two_shards();
    CHECK(all_turn(shards, 20s));
}

TEST_CASE("one stuck event loop is found, and found well again when it goes on") {
    const auto shards = two_shards();
    std::promise<void> stuck;
    std::promise<void> go_on;
    shards.back()->run([&] {
        stuck.set_value();
        go_on.get_future().wait();
    });
    stuck.get_future().wait();
    CHECK_FALSE(all_turn(shards, 20ms));
    go_on.set_value();
    CHECK(all_turn(shards, 20s));
}
