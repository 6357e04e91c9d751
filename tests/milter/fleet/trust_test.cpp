#include "milter/verdicts/trust.h"

#include <doctest/doctest.h>

using callforward::milter::verdicts::trust;
using namespace std::chrono_literals;

namespace {

const trust::time_point start{1000h};

}  // namespace

TEST_CASE("while notices arrive, what was learnt since is good") {
    trust t(60s, start);
    t.regained(start + 1s);
    CHECK(t.holds(start + 1s, start + 1h, 0));
    CHECK(t.holds(start + 2s, start + 48h, 1023));
}

TEST_CASE("after the loss of notices memory is good for so long and no longer") {
    trust t(60s, start);
    t.regained(start + 1s);
    t.lost(start + 1h);
    CHECK(t.holds(start + 2s, start + 1h + 59s, 0));
    CHECK_FALSE(t.holds(start + 2s, start + 1h + 60s, 0));
    // What was learnt meanwhile: from its learning on.
    CHECK(t.holds(start + 2h, start + 2h + 59s, 0));
    CHECK_FALSE(t.holds(start + 2h, start + 2h + 60s, 0));
}

TEST_CASE("when notices come again, what was learnt before is looked up, spread over the time") {
    trust t(60s, start);
    t.regained(start + 1s);
    t.lost(start + 100s);
    t.regained(start + 110s);
    CHECK_FALSE(t.holds(start + 2s, start + 111s, 0));
    CHECK(t.holds(start + 2s, start + 111s, 1023));
    CHECK_FALSE(t.holds(start + 2s, start + 160s, 1023));
    int looked_up = 0;
    for (unsigned i = 0; i < 1024; ++i) looked_up += t.holds(start + 2s, start + 135s, i) ? 0 : 1;
    CHECK(looked_up > 500);
    CHECK(looked_up < 525);
    CHECK(t.holds(start + 111s, start + 9h, 0));
}

TEST_CASE("two losses without a return are one, from the first on") {
    trust t(60s, start);
    t.regained(start);
    t.lost(start + 10s);
    t.lost(start + 50s);
    CHECK_FALSE(t.holds(start + 1s, start + 71s, 0));
}

TEST_CASE("at the start nothing is heard yet, and memory is good for a while") {
    const trust t(60s, start);
    CHECK(t.holds(start + 1s, start + 60s, 0));
    CHECK_FALSE(t.holds(start + 1s, start + 61s, 0));
}

TEST_CASE(
    "what may have missed a notice is not believed for longer while losses follow each other") {
    trust t(60s, start);
    t.regained(start + 1s);
    t.lost(start + 200s);
    t.regained(start + 202s);  // the notice came in between
    for (auto now = start + 203s; now < start + 1h; now += 1s) {
        const auto phase = (now - start) % 30s;
        if (phase == 0s) t.lost(now);
        if (phase == 2s) t.regained(now);
        for (const unsigned spread : {0U, 500U, 1023U}) {
            CHECK_FALSE((now >= start + 260s && t.holds(start + 100s, now, spread)));
        }
        // What was learnt meanwhile is good for its time, or while notices arrive.
        const auto later = start + 2 * 30s * ((now - start) / (2 * 30s)) + 5s;
        if (later > start + 203s && later < now) CHECK(t.holds(later, now, 1023));
    }
}

TEST_CASE("what has missed a notice is not believed again at a loss long after it") {
    trust t(60s, start);
    t.regained(start + 1s);
    t.lost(start + 100s);
    t.regained(start + 102s);
    t.lost(start + 1h);
    CHECK_FALSE(t.holds(start + 50s, start + 1h + 1s, 0));
    CHECK_FALSE(t.holds(start + 101s, start + 1h + 1s, 0));
    CHECK(t.holds(start + 103s, start + 1h + 59s, 0));
    t.regained(start + 1h + 2s);
    CHECK_FALSE(t.holds(start + 50s, start + 1h + 3s, 1023));
    CHECK(t.holds(start + 103s, start + 1h + 3s, 1023));
}

TEST_CASE("what was learnt since the last return is good for all of the time after a loss") {
    trust t(60s, start);
    t.regained(start + 1s);
    t.lost(start + 31s);
    CHECK(t.holds(start + 2s, start + 90s, 0));
    CHECK_FALSE(t.holds(start + 2s, start + 91s, 0));
    t.regained(start + 40s);
    t.lost(start + 50s);
    CHECK(t.holds(start + 41s, start + 109s, 0));
    CHECK_FALSE(t.holds(start + 2s, start + 62s, 0));
}
