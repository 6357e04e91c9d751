// The engine with a real next hop: shares, the interlock and its canaries.
#include "milter/engine.h"
#include "milter/log.h"
#include "tests/milter/played_next_hop.h"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

using namespace callforward;
using namespace std::chrono_literals;
using milter::answer;
using milter::engine;
using milter::settings;
using smtpclient::outcome;
using smtpclient::reason;
using tests::played_next_hop;

namespace {

const std::string knows_everybody = "rcpt * 250 2.1.5 ok\n";
const std::string knows_nobody = "rcpt * 550 5.1.1 no such user\n";

settings test_settings() {
    milter::log_settings quiet;
    quiet.level = milter::log_level::error;
    milter::log::open(quiet);
    settings s = tests::in_memory_settings();
    s.cache.deliverable = 0s;  // asked again each time, unless a test says otherwise
    return s;
}

smtpclient::question question_to(const played_next_hop& hop, const std::string& rcpt) {
    auto by = std::make_shared<smtpclient::transport>();
    by->tls.level = smtpclient::tls_level::none;
    smtpclient::question q;
    q.sender = "s@sender.test";
    q.recipient = smtpclient::mailbox::parse(rcpt).value();
    std::string error;
    q.to.hops = {smtpclient::parse_next_hop(hop.route(), error).value()};
    q.by = std::move(by);
    q.helo = "client.test";
    return q;
}

answer ask(engine& e,
           const played_next_hop& hop,
           const std::string& rcpt,
           std::chrono::milliseconds patience = 30s) {
    const milter::patience p{std::chrono::steady_clock::now() + patience, {}};
    return e.ask(question_to(hop, rcpt), "f", p);
}

reason reason_of(const answer& a) {
    REQUIRE(a.verdict);
    return a.verdict->finding.reason;
}

bool suspended(engine& e, const std::string& rcpt) {
    return e.is_suspended(smtpclient::mailbox::parse(rcpt).value());
}

bool comes_true(const std::function<bool()>& condition) {
    const auto limit = std::chrono::steady_clock::now() + 40s;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > limit) return false;
        std::this_thread::sleep_for(10ms);
    }
    return true;
}

}  // namespace

TEST_CASE("One stuck domain is overloaded at its share, and the others are answered") {
    played_next_hop hop("rcpt *@stuck.test STALL\n" + knows_everybody);
    settings s = test_settings();
    s.limits.pending = 8;
    s.limits.pending_share = 25;
    engine e(s, 1);
    for (const char* const rcpt : {"a@stuck.test", "b@stuck.test"}) {
        CHECK_FALSE(ask(e, hop, rcpt, 50ms).verdict);
    }
    const auto third = ask(e, hop, "c@stuck.test");
    CHECK(reason_of(third) == reason::overloaded);
    CHECK(third.source == milter::source::none);
    CHECK(third.verdict->detail == "too many call-forwards are under way for this domain");
    // One that is under way may still be joined, and waited for.
    CHECK_FALSE(ask(e, hop, "a@stuck.test", 50ms).verdict);
    for (int i = 0; i < 20; ++i) {
        CHECK(reason_of(ask(e, hop, "u" + std::to_string(i) + "@b.test")) == reason::accepted);
    }
}

TEST_CASE("Beyond the limit everybody is overloaded, and that is forgotten when there is room") {
    played_next_hop hop("rcpt *@stuck.test DELAY 6000 250 2.1.5 ok\n" + knows_everybody);
    settings s = test_settings();
    s.limits.pending = 2;
    s.limits.pending_share = 100;
    engine e(s, 1);
    for (const char* const rcpt : {"a@stuck.test", "b@stuck.test"}) {
        CHECK_FALSE(ask(e, hop, rcpt, 1ms).verdict);
    }
    const auto third = ask(e, hop, "c@b.test");
    CHECK(reason_of(third) == reason::overloaded);
    CHECK(third.verdict->detail == "too many call-forwards are under way");
    CHECK(comes_true([&] { return reason_of(ask(e, hop, "c@b.test")) == reason::accepted; }));
}

TEST_CASE("New limits come with a reload") {
    played_next_hop hop("rcpt *@stuck.test STALL\n" + knows_everybody);
    settings s = test_settings();
    s.limits.pending = 1;
    engine e(s, 1);
    CHECK_FALSE(ask(e, hop, "a@stuck.test", 1ms).verdict);
    CHECK(reason_of(ask(e, hop, "b@b.test")) == reason::overloaded);
    s.limits.pending = 2;
    e.use(s);
    CHECK(reason_of(ask(e, hop, "b@b.test")) == reason::accepted);
}

TEST_CASE("A next hop that forgets its people is suspended until it remembers them") {
    played_next_hop hop(knows_everybody);
    settings s = test_settings();
    s.cache.deliverable = s.cache.undetermined = 1s;
    s.interlock.flip_limit = 5;
    engine e(s, 1);
    const auto rcpt = [](int n) { return "u" + std::to_string(n) + "@a.test"; };
    for (int i = 0; i < 8; ++i) CHECK(reason_of(ask(e, hop, rcpt(i))) == reason::accepted);
    hop.use(knows_nobody);
    const auto refused = [&](int n) {
        return ask(e, hop, rcpt(n)).verdict->outcome() == outcome::undeliverable;
    };
    for (int i = 0; i < 8; ++i) {
        CHECK(comes_true([&] { return refused(i); }));
        CHECK(suspended(e, rcpt(i)) == (i >= 4));
    }
    CHECK_FALSE(suspended(e, "u@b.test"));
    REQUIRE(e.suspensions().size() == 1);
    CHECK(e.suspensions()[0].flips == 8);
    // What is in doubt is kept for the undetermined lifetime: they are asked again, and found.
    hop.use(knows_everybody);
    for (int i = 0; i < 8; ++i) CHECK(comes_true([&] { return !refused(i); }));
    CHECK_FALSE(suspended(e, rcpt(0)));
    CHECK(e.suspensions().empty());
}

TEST_CASE(
    "Refusals in doubt are asked about once in the undetermined lifetime, and take no one's "
    "place") {
    played_next_hop hop(knows_everybody);
    settings s = test_settings();
    s.cache.deliverable = 1s;
    s.cache.undetermined = 30s;
    s.interlock.flip_limit = 2;
    engine e(s, 1);
    for (const char* const who : {"u1@a.test", "u2@a.test", "u3@a.test"})
        CHECK(reason_of(ask(e, hop, who)) == reason::accepted);
    hop.use(knows_nobody);
    const auto refused = [&](const char* who) {
        return ask(e, hop, who).verdict->outcome() == outcome::undeliverable;
    };
    CHECK(comes_true([&] { return refused("u1@a.test"); }));
    const auto asked = hop.count("rcpt u1@a.test ");
    for (int i = 0; i < 5; ++i) CHECK(refused("u1@a.test"));
    CHECK(hop.count("rcpt u1@a.test ") == asked);
    CHECK(comes_true([&] { return refused("u2@a.test"); }));
    CHECK(suspended(e, "u1@a.test"));
    // Nobody knows it; while the domain is closed that is in doubt, too.
    for (int i = 0; i < 5; ++i) CHECK(refused("never@a.test"));
    CHECK(hop.count("rcpt never@a.test ") == 1);
    // Open again: what was in doubt is asked anew.
    s.interlock.flip_limit = 0;
    e.use(s);
    CHECK_FALSE(suspended(e, "u1@a.test"));
    hop.use(knows_everybody);
    CHECK(reason_of(ask(e, hop, "never@a.test")) == reason::accepted);
    CHECK(reason_of(ask(e, hop, "u1@a.test")) == reason::accepted);
}

TEST_CASE("What was refused last is not accepted as it was before, but in an outage") {
    played_next_hop hop(knows_everybody);
    settings s = test_settings();
    s.cache.deliverable = s.cache.undetermined = 1s;
    s.limits.sessions.host_penalty = 0s;
    s.interlock.flip_window = 4s;
    engine e(s, 1);
    for (const char* const who : {"gone@a.test", "there@a.test"})
        CHECK(reason_of(ask(e, hop, who)) == reason::accepted);
    const auto outcome_of = [&](const char* who) { return ask(e, hop, who).verdict->outcome(); };
    hop.use("rcpt gone@* 550 5.1.1 no such user\n");
    CHECK(comes_true([&] { return outcome_of("gone@a.test") == outcome::undeliverable; }));
    hop.use("rcpt * CLOSE\n");
    CHECK(comes_true([&] { return ask(e, hop, "there@a.test").source == milter::source::stale; }));
    CHECK(comes_true([&] { return outcome_of("gone@a.test") == outcome::undetermined; }));
    CHECK(outcome_of("there@a.test") == outcome::deliverable);
    // With its domain closed it may have been refused by mistake.
    s.interlock.canaries = {"canary@a.test"};
    e.use(s);
    hop.use("rcpt canary@* 550 5.1.1 no such user\nrcpt * CLOSE\n");
    CHECK(comes_true([&] {
        return outcome_of("there@a.test") == outcome::deliverable && suspended(e, "gone@a.test");
    }));
    CHECK(comes_true([&] { return outcome_of("gone@a.test") == outcome::deliverable; }));
}

TEST_CASE("A domain is suspended while its canary is refused, though nobody writes to it") {
    played_next_hop hop(knows_everybody);
    settings s = test_settings();
    s.interlock.canaries = {"canary@a.test"};
    s.interlock.flip_window = 1s;
    engine e(s, 1);
    CHECK(reason_of(ask(e, hop, "u@a.test")) == reason::accepted);
    CHECK(comes_true([&] { return hop.count("rcpt canary@a.test ") > 0; }));
    CHECK_FALSE(suspended(e, "u@a.test"));
    hop.use(knows_nobody);
    CHECK(comes_true([&] { return suspended(e, "u@a.test"); }));
    REQUIRE(e.suspensions().size() == 1);
    CHECK(e.suspensions()[0].canaries_refused == 1);
    hop.use(knows_everybody);
    CHECK(comes_true([&] { return !suspended(e, "u@a.test"); }));
}

TEST_CASE("What was refused just before a domain closed is asked about again") {
    played_next_hop hop(knows_everybody);
    settings s = test_settings();
    s.interlock.canaries = {"canary@a.test"};
    engine e(s, 1);
    CHECK(reason_of(ask(e, hop, "canary@a.test")) == reason::accepted);
    hop.use(knows_nobody);
    CHECK(reason_of(ask(e, hop, "new@a.test")) == reason::unknown_user);
    CHECK(reason_of(ask(e, hop, "new@b.test")) == reason::unknown_user);
    CHECK(comes_true([&] {
        static_cast<void>(ask(e, hop, "canary@a.test"));
        return suspended(e, "new@a.test");
    }));
    hop.use(knows_everybody);
    CHECK(comes_true([&] {
        static_cast<void>(ask(e, hop, "canary@a.test"));
        return !suspended(e, "new@a.test");
    }));
    CHECK(comes_true([&] { return reason_of(ask(e, hop, "new@a.test")) == reason::accepted; }));
    CHECK(reason_of(ask(e, hop, "new@b.test")) == reason::unknown_user);
}

TEST_CASE("The first question about a domain has its canary asked at once") {
    played_next_hop hop(knows_nobody);
    settings s = test_settings();
    s.interlock.canaries = {"canary@a.test"};
    s.interlock.flip_limit = 0;
    engine e(s, 1);
    CHECK(reason_of(ask(e, hop, "u@b.test")) == reason::unknown_user);
    CHECK(reason_of(ask(e, hop, "u@a.test")) == reason::unknown_user);
    CHECK(comes_true([&] { return suspended(e, "u@a.test"); }));
    CHECK_FALSE(suspended(e, "u@b.test"));
    CHECK(hop.count("rcpt canary@a.test ") == 1);
}

TEST_CASE("What is known already tells where a canary is asked") {
    played_next_hop hop(knows_nobody);
    settings s = test_settings();
    s.cache.deliverable = 1h;
    s.interlock.flip_limit = 0;
    engine e(s, 1);
    e.known().declare(smtpclient::mailbox::parse("u@a.test").value(),
                      milter::verdicts::moment::now());
    s.interlock.canaries = {"canary@a.test"};
    e.use(s);
    CHECK(reason_of(ask(e, hop, "u@a.test")) == reason::accepted);
    CHECK(comes_true([&] { return suspended(e, "u@a.test"); }));
    CHECK(hop.count("rcpt u@a.test ") == 0);
}

TEST_CASE("A canary is asked where it was last written to, wherever others are asked") {
    played_next_hop its(knows_everybody);
    played_next_hop of_one(knows_nobody);  // it has the mailboxes of one person only
    settings s = test_settings();
    s.interlock.canaries = {"Canary@a.test"};
    s.interlock.flip_window = 1s;
    engine e(s, 1);
    CHECK(reason_of(ask(e, its, "canary@A.test")) == reason::accepted);
    CHECK(reason_of(ask(e, of_one, "u@a.test")) == reason::unknown_user);
    const auto asked = its.count("rcpt ");
    CHECK(its.wait_for("rcpt ", asked + 2));
    CHECK(of_one.count("rcpt Canary@a.test ") == 0);
    CHECK_FALSE(suspended(e, "u@a.test"));
    // It moves with its own mail.
    of_one.use(knows_everybody);
    CHECK(reason_of(ask(e, of_one, "canary@a.test")) == reason::accepted);
    CHECK(of_one.wait_for("rcpt Canary@a.test "));
}

TEST_CASE("A way that was chosen for one recipient is not the canary's") {
    played_next_hop of_one(knows_nobody);
    played_next_hop of_all(knows_everybody);
    settings s = test_settings();
    s.interlock.canaries = {"canary@a.test"};
    s.interlock.flip_window = 1s;
    engine e(s, 1);
    const auto ask_in_its_own_way = [&](const std::string& rcpt) {
        auto q = question_to(of_one, rcpt);
        q.in_its_own_way = true;
        return reason_of(e.ask(q, "f", {std::chrono::steady_clock::now() + 30s, {}}));
    };
    CHECK(ask_in_its_own_way("u@a.test") == reason::unknown_user);
    CHECK(reason_of(ask(e, of_all, "v@a.test")) == reason::accepted);
    CHECK(ask_in_its_own_way("u@a.test") == reason::unknown_user);
    CHECK(of_all.wait_for("rcpt canary@a.test ", 2));
    CHECK(of_one.count("rcpt canary@a.test ") == 0);
    // Unless it is the canary for which it was chosen.
    of_one.use(knows_everybody);
    CHECK(ask_in_its_own_way("canary@a.test") == reason::accepted);
    CHECK(of_one.wait_for("rcpt canary@a.test ", 2));
}

TEST_CASE("After a reload the next RCPT says anew where a canary is asked") {
    played_next_hop before(knows_everybody);
    played_next_hop after(knows_everybody);
    settings s = test_settings();
    s.interlock.canaries = {"canary@a.test"};
    s.interlock.flip_window = 1s;
    engine e(s, 1);
    CHECK(reason_of(ask(e, before, "canary@a.test")) == reason::accepted);
    CHECK(before.wait_for("rcpt canary@a.test ", 2));
    e.use(s);
    CHECK(reason_of(ask(e, after, "u@a.test")) == reason::accepted);
    CHECK(after.wait_for("rcpt canary@a.test ", 2));
}

TEST_CASE("The dialogue about a canary is not told as a client's") {
    played_next_hop hop(knows_everybody);
    settings s = test_settings();
    s.interlock.canaries = {"canary@a.test"};
    engine e(s, 1);
    auto q = question_to(hop, "u@a.test");
    q.id = 77;
    CHECK(reason_of(e.ask(q, "f", {std::chrono::steady_clock::now() + 30s, {}})) ==
          reason::accepted);
    CHECK(comes_true([&] { return e.seen().dialogues.about("canary@a.test").has_value(); }));
    CHECK(e.seen().dialogues.about("canary@a.test")->id == 0);
    CHECK(e.seen().dialogues.of_id(77)->recipient == "u@a.test");
}

TEST_CASE("A RCPT for a canary tells as much as a question of our own") {
    played_next_hop hop(knows_nobody);
    settings s = test_settings();
    s.interlock.canaries = {"canary@a.test"};
    s.interlock.flip_limit = 0;
    engine e(s, 1);
    CHECK(reason_of(ask(e, hop, "canary@a.test")) == reason::unknown_user);
    CHECK(suspended(e, "u@a.test"));
    s.interlock.canaries.clear();
    e.use(s);
    CHECK_FALSE(suspended(e, "u@a.test"));
}
