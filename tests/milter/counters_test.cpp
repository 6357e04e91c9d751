#include "milter/counters.h"

#include "milter/control/history.h"

#include <doctest/doctest.h>

using namespace callforward;
using namespace callforward::milter;
using namespace std::chrono_literals;
using callforward::milter::control::history;
using smtpclient::outcome;
using smtpclient::reason;
using smtpclient::verdict_class;

namespace {

void count(counters& c, source from, std::chrono::nanoseconds took = 2ms, int times = 1) {
    for (int i = 0; i < times; ++i) {
        c.count({outcome::deliverable,
                 reason::accepted,
                 verdict_class::deliverable,
                 action::accept,
                 from,
                 took});
    }
}

}  // namespace

TEST_CASE("A RCPT is counted by outcome, reason, action and source, and by class") {
    counters c;
    count(c, source::probe);
    count(c, source::cache, 2ms, 3);
    c.count({outcome::undeliverable,
             reason::unknown_user,
             verdict_class::undeliverable,
             action::reject,
             source::cache,
             1ms});
    std::uint64_t rejected = 0;
    int kinds = 0;
    c.for_each_verdict([&](outcome o, reason r, action a, source s, std::uint64_t n) {
        ++kinds;
        if (o == outcome::undeliverable && r == reason::unknown_user && a == action::reject &&
            s == source::cache) {
            rejected = n;
        }
    });
    CHECK(kinds == 3);
    CHECK(rejected == 1);
    const counted now = c.now();
    CHECK(now.of_class(verdict_class::deliverable) == 4);
    CHECK(now.of_class(verdict_class::undeliverable) == 1);
    CHECK(now.of_source(source::cache) == 4);
    CHECK(now.total() == 5);
    CHECK(now.hit_ratio() == doctest::Approx(0.8));
    CHECK(now.answers.total() == 5);
    CHECK(now.answers.sum == doctest::Approx(0.009));
}

TEST_CASE("Every reason, class and stage that has a name has a place in the counters") {
    CHECK(static_cast<std::size_t>(reason::off) + 1 >= smtpclient::reason_names().size());
    CHECK(smtpclient::reason_names().size() <= reason_count);
    CHECK(smtpclient::stage_names().size() <= stage_count);
    counters c;
    for (const auto name : smtpclient::reason_names()) {
        const reason r = smtpclient::parse_reason(name).value();
        c.count({outcome::undetermined,
                 r,
                 smtpclient::usual_class(r),
                 action::tempfail,
                 source::probe,
                 1ms});
    }
    CHECK(c.now().total() == smtpclient::reason_names().size());
}

TEST_CASE("What was neither known nor asked does not count for the hit ratio") {
    counters c;
    CHECK(c.now().hit_ratio() == 0);
    count(c, source::none, 1ms, 10);
    CHECK(c.now().hit_ratio() == 0);
    count(c, source::cache);
    CHECK(c.now().hit_ratio() == 1);
    count(c, source::shared);
    CHECK(c.now().hit_ratio() == doctest::Approx(0.5));
}

TEST_CASE("A quantile is never longer than the longest that was seen") {
    counters c;
    count(c, source::probe, 11s, 50);
    count(c, source::probe, 12s);
    CHECK(c.now().answers.quantile(0.5) <= 12);
    CHECK(c.now().answers.quantile(0.99) == 12);
    counted later = c.now();
    later -= counted{};
    CHECK(later.answers.quantile(0.99) == 12);
}

TEST_CASE("What mode monitor has not done is counted apart, too") {
    counters c;
    counters::rcpt r{outcome::undeliverable,
                     reason::unknown_user,
                     verdict_class::undeliverable,
                     action::reject,
                     source::probe,
                     1ms};
    c.count(r);
    CHECK(c.monitored(action::reject) == 0);
    r.monitored = true;
    c.count(r);
    CHECK(c.monitored(action::reject) == 1);
    CHECK(c.monitored(action::accept) == 0);
    CHECK(c.now().total() == 2);
}

TEST_CASE("A quantile lies within the range that its value was counted in") {
    counters c;
    CHECK(c.now().answers.quantile(0.5) == 0);
    count(c, source::probe, 3ms, 99);
    count(c, source::probe, 700ms);
    const duration_counts d = c.now().answers;
    CHECK(d.quantile(0.5) > 0.0025);
    CHECK(d.quantile(0.5) <= 0.005);
    CHECK(d.quantile(0.999) > 0.5);
    CHECK(d.quantile(1) <= 1);
    count(c, source::probe, 2h, 1000);
    CHECK(c.now().answers.quantile(0.9) == duration_bounds.back());
}

TEST_CASE("Call-forwards are counted by stage and outcome") {
    counters c;
    smtpclient::verdict v;
    v.stage = smtpclient::stage::connect;
    c.count_probe(v, 5s);
    c.count_probe(v, 5s);
    std::uint64_t failed = 0;
    c.for_each_probe([&](smtpclient::stage s, outcome o, std::uint64_t n) {
        if (s == smtpclient::stage::connect && o == outcome::undetermined) failed = n;
    });
    CHECK(failed == 2);
    CHECK(c.now().probes.total() == 2);
}

TEST_CASE("The last minute is what was counted since then, however long the program runs") {
    counters c;
    const auto start = history::clock::now();
    history h(c, start);
    count(c, source::probe, 1ms, 5);
    CHECK(h.within(60s, start + 10s).total() == 5);
    for (int second = 1; second <= 600; ++second) {
        h.sample(start + std::chrono::seconds(second));
        count(c, source::cache);
    }
    CHECK(h.within(60s, start + 600s).total() == 61);
    CHECK(h.within(300s, start + 600s).total() == 301);
    CHECK(h.within(3600s, start + 600s).total() == 605);
    CHECK(h.since_start().total() == 605);
}

TEST_CASE("An hour is remembered minute by minute, and a day is all that is kept") {
    counters c;
    const auto start = history::clock::now();
    history h(c, start);
    for (int second = 1; second <= 5 * 3600; ++second) {
        count(c, source::cache);
        h.sample(start + std::chrono::seconds(second));
    }
    const auto now = start + std::chrono::hours(5);
    const auto hour = h.within(3600s, now).total();
    CHECK(hour >= 3540);
    CHECK(hour <= 3600);
    const auto all = h.minutes(60, now);
    REQUIRE(all.size() == 60);
    CHECK(all.front().counts.total() == 60);
    CHECK(all.front().length == 60s);
    CHECK(all.back().ago == 0s);
    CHECK(h.minutes(100000, now).size() == history::minutes_kept);
}
