#include "milter/interlock.h"

#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <vector>

using namespace callforward;
using namespace std::chrono_literals;
using milter::interlock;
using milter::interlock_settings;
using milter::interlock_state;
using milter::standing;
using smtpclient::outcome;
using smtpclient::reason;
using smtpclient::verdict_class;

namespace {

using former = std::optional<outcome>;

const interlock::time_point start{1000h};

smtpclient::verdict verdict_of(verdict_class c, reason r, smtpclient::stage at) {
    smtpclient::verdict v;
    v.finding = {c, r};
    v.stage = at;
    return v;
}

const auto accepted =
    verdict_of(verdict_class::deliverable, reason::accepted, smtpclient::stage::rcpt);
const auto unknown =
    verdict_of(verdict_class::undeliverable, reason::unknown_user, smtpclient::stage::rcpt);
const auto no_domain =
    verdict_of(verdict_class::undeliverable, reason::no_such_domain, smtpclient::stage::route);
const auto timed_out =
    verdict_of(verdict_class::unreachable, reason::timed_out, smtpclient::stage::rcpt);

smtpclient::mailbox address(const std::string& text) {
    return smtpclient::mailbox::parse(text).value();
}

interlock_settings with(std::size_t flips, std::vector<std::string> canaries = {}) {
    interlock_settings s;
    s.flip_limit = flips;
    s.flip_window = 5min;
    s.canaries = std::move(canaries);
    return s;
}

class watched {
public:
    explicit watched(const interlock_settings& s)
        : lock(s, [this](const interlock_state& state) { told.push_back(state); }) {}

    // n addresses, from first on, that were deliverable are refused; how many are in doubt.
    int refuse(int n, interlock::time_point now, int first = 0, former before = deliverable) {
        int in_doubt = 0;
        for (int i = first; i < first + n; ++i) {
            const auto who = address("u" + std::to_string(i) + "@a.test");
            if (lock.learn(who, before, unknown, now) != standing::certain) ++in_doubt;
        }
        return in_doubt;
    }
    bool learn(const std::string& who,
               const smtpclient::verdict& v,
               interlock::time_point now = start,
               former before = std::nullopt) {
        return lock.learn(address(who), before, v, now) != standing::certain;
    }
    bool closed(interlock::time_point now = start) { return lock.is_closed("a.test", now); }

    static constexpr outcome deliverable = outcome::deliverable;
    interlock lock;
    std::vector<interlock_state> told;
};

}  // namespace

TEST_CASE("A domain closes when so many formerly deliverable addresses are refused") {
    watched w(with(20));
    CHECK(w.refuse(19, start) == 19);
    CHECK_FALSE(w.closed());
    CHECK(w.told.empty());
    w.refuse(1, start, 19);
    CHECK(w.closed());
    CHECK_FALSE(w.lock.is_closed("b.test", start));
    REQUIRE(w.told.size() == 1);
    CHECK(w.told[0].domain == "a.test");
    CHECK(w.told[0].closed);
    CHECK(w.told[0].flips == 20);
    CHECK(w.told[0].canaries_refused == 0);
}

TEST_CASE("Refusals of addresses that were never deliverable are no flips") {
    watched w(with(2));
    CHECK(w.refuse(1000, start, 0, std::nullopt) == 0);
    CHECK(w.refuse(1000, start, 0, outcome::undeliverable) == 0);
    CHECK(w.refuse(1000, start, 0, outcome::undetermined) == 0);
    CHECK_FALSE(w.closed());
    CHECK(w.lock.states(start).empty());
}

TEST_CASE("Without a window nothing is a flip, and nothing in doubt") {
    interlock_settings s = with(20);
    s.flip_window = 0s;
    watched w(s);
    CHECK(w.refuse(30, start) == 0);
    w.lock.learn_elsewhere(address("u@a.test"), start);
    CHECK_FALSE(w.learn("u@a.test", unknown));
    CHECK_FALSE(w.closed());
}

TEST_CASE("Only a reply to RCPT is a flip, and only a refusal") {
    watched w(with(1));
    CHECK_FALSE(w.learn("u@a.test", no_domain, start, outcome::deliverable));
    CHECK_FALSE(w.learn("u@a.test", timed_out, start, outcome::deliverable));
    CHECK_FALSE(w.learn("u@a.test", accepted, start, outcome::deliverable));
    CHECK_FALSE(w.closed());
    CHECK(w.learn("u@a.test", unknown, start, outcome::deliverable));
    CHECK(w.closed());
}

TEST_CASE("One address counts once, however often it is refused") {
    watched w(with(2));
    for (int i = 0; i < 100; ++i) w.refuse(1, start + i * 1s);
    CHECK_FALSE(w.closed(start + 100s));
}

TEST_CASE("Flips count within the window only") {
    watched w(with(20));
    for (int i = 0; i < 100; ++i) w.refuse(1, start + i * 16s, i);
    CHECK(w.told.empty());
    for (int i = 100; i < 200; ++i) w.refuse(1, start + 2h + i * 14s, i);
    CHECK(w.told.size() == 1);
}

TEST_CASE("A domain opens when the flips of the window are below the limit") {
    watched w(with(20));
    w.refuse(10, start);
    w.refuse(10, start + 1min, 10);
    CHECK(w.closed(start + 5min - 1ms));
    CHECK_FALSE(w.closed(start + 5min));
    REQUIRE(w.told.size() == 2);
    CHECK_FALSE(w.told[1].closed);
    CHECK(w.told[1].flips == 10);
    CHECK(w.told[1].closed_for == 4min);
}

TEST_CASE("An address that is refused again after its window is gone, and counts no more") {
    watched w(with(3));
    for (int i = 0; i < 10; ++i) {  // such as leave one by one, and are written to for days
        const auto hour = start + i * 1h;
        const std::string who = "left" + std::to_string(i) + "@a.test";
        CHECK(w.learn(who, unknown, hour, watched::deliverable));
        CHECK(w.learn(who, unknown, hour + 4min, watched::deliverable));  // still in doubt
        CHECK_FALSE(w.learn(who, unknown, hour + 10min, watched::deliverable));
    }
    // All on one day, and each of them refused again on the next: no outage either.
    for (int day = 0; day < 2; ++day) {
        for (int i = 0; i < 6; ++i) {
            const auto when = start + 24h + day * 12h + i * 3min;
            const bool in_doubt = w.learn(
                "also" + std::to_string(i) + "@a.test", unknown, when, watched::deliverable);
            CHECK(in_doubt == (day == 0));
        }
    }
    CHECK(w.told.empty());
}

TEST_CASE("An address that was refused while its domain was closed is not gone for that") {
    watched w(with(3));
    CHECK(w.refuse(3, start) == 3);
    CHECK(w.closed());
    CHECK_FALSE(w.closed(start + 6min));  // nobody wrote; who knows whether it is over
    CHECK(w.refuse(3, start + 7min) == 3);
    CHECK(w.closed(start + 7min));
}

TEST_CASE("What other edges see of an address counts, but does not make it gone") {
    watched w(with(3));
    const auto who = address("u0@a.test");
    w.lock.learn_elsewhere(who, start);
    CHECK(w.learn("u0@a.test", unknown, start + 6min, watched::deliverable));
    // Its own refusal, too, is no longer one when another edge was told that it is there.
    w.lock.accepted_elsewhere(who);
    CHECK(w.learn("u1@a.test", unknown, start + 6min, watched::deliverable));
    w.lock.settle(start + 12min);
    w.lock.accepted_elsewhere(address("u1@a.test"));
    CHECK(w.learn("u1@a.test", unknown, start + 13min, watched::deliverable));
}

TEST_CASE("What other edges see makes an own refusal no less certain") {
    watched w(with(3));
    const auto who = address("u0@a.test");
    CHECK(w.learn("u0@a.test", unknown, start, watched::deliverable));
    w.lock.learn_elsewhere(who, start + 1min);
    CHECK_FALSE(w.learn("u0@a.test", unknown, start + 6min, watched::deliverable));
    // Nor one that has outlived its window.
    CHECK(w.learn("u1@a.test", unknown, start + 10min, watched::deliverable));
    w.lock.settle(start + 16min);
    w.lock.learn_elsewhere(address("u1@a.test"), start + 17min);
    CHECK_FALSE(w.learn("u1@a.test", unknown, start + 18min, watched::deliverable));
}

TEST_CASE("A full mailbox is no flip, and no canary that is gone") {
    const auto full =
        verdict_of(verdict_class::undeliverable, reason::mailbox_full, smtpclient::stage::rcpt);
    watched w(with(2, {"canary@a.test"}));
    for (const char* const who : {"u1@a.test", "u2@a.test", "canary@a.test"})
        CHECK_FALSE(w.learn(who, full, start, watched::deliverable));
    CHECK_FALSE(w.closed());
    CHECK(w.told.empty());
}

TEST_CASE("What is in doubt answers for a part of the window, and never for a canary") {
    const watched w(with(3, {"Canary@a.test"}));
    CHECK(w.lock.doubted_for(address("u@a.test"), 30s) == 30s);
    CHECK(w.lock.doubted_for(address("u@a.test"), 1h) == 75s);
    CHECK(w.lock.doubted_for(address("canary@a.test"), 30s) == 0s);
}

TEST_CASE("With 10000 domains the one that matters least gives its place away") {
    watched w(with(2));
    w.learn("u@aaa.test", unknown, start, watched::deliverable);
    for (int i = 0; i < 9'999; ++i) {
        w.learn("u@d" + std::to_string(i) + ".test", unknown, start - 10min, watched::deliverable);
    }
    for (int i = 0; i < 20; ++i) {
        w.learn("u@e" + std::to_string(i) + ".test", unknown, start + 1s, watched::deliverable);
    }
    w.learn("v@aaa.test", unknown, start + 2s, watched::deliverable);
    CHECK(w.lock.is_closed("aaa.test", start + 2s));
}

TEST_CASE("Addresses that are gone leave room for the flips of an outage") {
    watched w(with(3));
    for (int i = 0; i < 100; ++i) w.refuse(1, start + i * 10min, i);
    CHECK(w.told.empty());
    const auto later = start + 24h;
    CHECK(w.refuse(3, later, 1000) == 3);
    CHECK(w.closed(later));
}

TEST_CASE("A domain opens and is forgotten without anybody asking about it") {
    watched w(with(2));
    w.refuse(2, start);
    w.lock.settle(start + 4min);
    CHECK(w.lock.states(start + 4min).size() == 1);
    w.lock.settle(start + 5min);
    CHECK(w.told.size() == 2);
    CHECK(w.lock.states(start + 5min).empty());
}

TEST_CASE("Addresses that are accepted again are no flips any more") {
    watched w(with(3));
    w.refuse(3, start);
    CHECK(w.closed());
    CHECK_FALSE(w.learn("u1@a.test", accepted, start + 1min, outcome::undeliverable));
    CHECK_FALSE(w.closed(start + 1min));
}

TEST_CASE("An outage that outlasts the window keeps the domain closed, but not without end") {
    watched w(with(5));
    w.refuse(5, start);
    // What flipped is known as undeliverable now, and refused again and again.
    auto now = start;
    for (; now < start + 115min; now += 3min) {
        CHECK(w.refuse(5, now, 0, outcome::undeliverable) == 5);
        CHECK(w.closed(now));
    }
    for (; now < start + 130min; now += 3min) w.refuse(5, now, 0, outcome::undeliverable);
    CHECK_FALSE(w.closed(now));
    CHECK(w.told.size() == 2);
    CHECK(w.refuse(5, now, 0, outcome::undeliverable) == 0);
}

TEST_CASE("While a domain is closed every refusal of it is in doubt") {
    watched w(with(2));
    CHECK_FALSE(w.learn("never@a.test", unknown));
    w.refuse(2, start);
    CHECK(w.learn("never@a.test", unknown));
    CHECK(w.learn("never@a.test", no_domain));
    CHECK_FALSE(w.learn("good@a.test", accepted));
    CHECK_FALSE(w.learn("far@a.test", timed_out));
    CHECK_FALSE(w.learn("never@b.test", unknown));
    CHECK_FALSE(w.learn("never@a.test", unknown, start + 5min));
}

TEST_CASE("One refused canary closes its domain, until it is accepted") {
    watched w(with(0, {"Boss@a.test", "info@a.test", "info@b.test"}));
    CHECK_FALSE(w.learn("info@a.test", accepted));
    CHECK_FALSE(w.learn("other@a.test", unknown, start, outcome::deliverable));
    CHECK(w.learn("boss@A.test", unknown));
    CHECK(w.closed());
    CHECK_FALSE(w.lock.is_closed("b.test", start));
    CHECK(w.learn("info@a.test", no_domain));
    CHECK_FALSE(w.learn("boss@a.test", timed_out, start + 1h));
    CHECK(w.closed(start + 24h));
    w.learn("boss@a.test", accepted, start + 25h);
    CHECK(w.closed(start + 25h));
    w.learn("info@a.test", accepted, start + 25h);
    CHECK_FALSE(w.closed(start + 25h));
    REQUIRE(w.told.size() == 2);
    CHECK(w.told[0].canaries_refused == 1);
    CHECK(w.told[1].canaries_refused == 0);
}

TEST_CASE("A domain that flips have closed opens only with all canaries accepted") {
    watched w(with(2, {"info@a.test"}));
    w.refuse(2, start);
    w.learn("info@a.test", unknown);
    CHECK(w.closed(start + 1h));
    w.learn("info@a.test", accepted, start + 1h);
    CHECK_FALSE(w.closed(start + 1h));
    CHECK(w.told.size() == 2);
}

TEST_CASE("A limit of 0 with no canaries, or a window of 0, closes nothing") {
    watched off(with(0));
    off.refuse(1000, start);
    CHECK_FALSE(off.closed());
    CHECK(off.lock.states(start).empty());
    auto s = with(5);
    s.flip_window = 0ms;
    watched none(s);
    none.refuse(1000, start);
    CHECK(none.told.empty());
}

TEST_CASE("A reload may open what it no longer watches") {
    watched w(with(2, {"info@a.test"}));
    w.learn("info@a.test", unknown);
    w.lock.use(with(2), start);
    CHECK_FALSE(w.closed());
    w.refuse(2, start);
    CHECK(w.closed());
    w.lock.use(with(0), start);
    CHECK_FALSE(w.closed());
}

TEST_CASE("An address at a literal has no domain to be closed") {
    watched w(with(1, {}));
    CHECK_FALSE(w.learn("u@[192.0.2.1]", unknown, start, outcome::deliverable));
    CHECK(w.lock.states(start).empty());
}

TEST_CASE("Flips and domains are remembered up to a bound") {
    watched w(with(2));
    w.refuse(100, start);
    REQUIRE(w.lock.states(start).size() == 1);
    CHECK(w.lock.states(start)[0].flips == 4);
    for (int i = 0; i < 12000; ++i) {
        w.learn("u@d" + std::to_string(i) + ".test", unknown, start, outcome::deliverable);
    }
    CHECK(w.lock.states(start).size() <= 10000);
    CHECK(w.closed());
}

TEST_CASE("Many threads learn, ask and settle at once") {
    watched w(with(20, {"info@a.test"}));
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&w, t] {
            for (int i = 0; i < 500; ++i) {
                const auto now = start + i * 1s;
                w.refuse(1, now, t * 1000 + i);
                w.learn("info@a.test", i % 2 == 0 ? unknown : accepted, now);
                static_cast<void>(w.closed(now));
                if (i % 10 == 0) w.lock.settle(now);
            }
        });
    }
    for (auto& thread : threads) thread.join();
    w.lock.settle(start + 24h);
    CHECK_FALSE(w.closed(start + 24h));
    CHECK(w.told.size() % 2 == 0);
}
