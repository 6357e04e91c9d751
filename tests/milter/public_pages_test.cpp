// What is told about the daemon.
#include "milter/control/public_pages.h"

#include "milter/log.h"
#include "tests/milter/played_next_hop.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using namespace callforward;
using namespace callforward::milter::control;

namespace {

struct daemon_parts {
    explicit daemon_parts(const milter::settings& s) : asking(s, 2) {}

    [[nodiscard]] watched seen() { return {asking, past, run}; }

    milter::engine asking;
    history past{asking.seen().counts, history::clock::now()};
    run_state run{"1", "x.toml", std::make_shared<const milter::settings>(test_settings())};

    static milter::settings test_settings() {
        milter::log_settings quiet;
        quiet.level = milter::log_level::error;
        milter::log::open(quiet);
        return tests::in_memory_settings();
    }
};

}  // namespace

TEST_CASE("the status names the store that is in use, whatever a reload asks for") {
    daemon_parts d(daemon_parts::test_settings());
    auto other = daemon_parts::test_settings();
    other.cache.store = "redis://192.0.2.1:6379/0";
    d.run.reloaded(std::make_shared<const milter::settings>(other));
    CHECK(status_of(d.seen()).at("cache").at("store") == "memory");
}
