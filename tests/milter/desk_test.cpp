#include "milter/control/desk.h"

#include "milter/log.h"
#include "milter/recipient_check.h"
#include "tests/milter/played_next_hop.h"
#include "tests/support/temporary_folder.h"

#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <vector>

using namespace callforward;
using namespace callforward::milter;
using testing::temporary_folder;

TEST_CASE("The monitor report is whole whoever saves it, and whoever saves it at the same time") {
    constexpr int threads = 4;
    constexpr int times = 50;
    log_settings quiet;
    quiet.level = log_level::error;
    log::open(quiet);
    const temporary_folder folder;
    auto s = tests::in_memory_settings();
    engine asking(s, 1);
    // Where the report goes; the engine keeps to memory.
    s.cache.store = "lmdb:" + folder.path().string();
    const auto now = std::make_shared<const settings>(s);
    recipient_check checking(asking, now);
    control::run_state run("1", "x.toml", now);
    const auto today = monitor_report::wall_time::clock::now();
    {
        control::desk desk({asking, checking, run, {}, {}}, {});
        std::vector<std::thread> all;
        for (int i = 0; i < threads; ++i) {
            all.emplace_back([&] {
                for (int n = 0; n < times; ++n) {
                    asking.seen().monitored.note("x.test",
                                                 smtpclient::reason::unknown_user,
                                                 action::reject,
                                                 "u@x.test",
                                                 today);
                    desk.save_report();
                }
            });
        }
        for (auto& each : all) each.join();
        CHECK_FALSE(asking.seen().monitored.is_changed());
    }
    monitor_report kept;
    kept.load(folder.file("monitor-report"), today);
    const auto sums = kept.since(today - std::chrono::hours(1), "x.test", today);
    REQUIRE(sums.size() == 1);
    CHECK(sums.front().count == threads * times);
}
