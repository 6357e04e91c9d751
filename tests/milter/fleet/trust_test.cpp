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
