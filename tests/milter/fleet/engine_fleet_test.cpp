// Engines that share a store, as the edges of one site do.
#include "milter/engine.h"
#include "tests/milter/fleet/played_store.h"
#include "tests/milter/played_next_hop.h"

#include <doctest/doctest.h>

#include <functional>
#include <map>
#include <thread>

using namespace callforward;
using namespace callforward::milter;
using namespace std::chrono_literals;
using callforward::tests::played_next_hop;
using clock_type = std::chrono::steady_clock;

namespace {

smtpclient::question about(const played_next_hop& host, const std::string& rcpt) {
    smtpclient::question q;
    q.recipient = smtpclient::mailbox::parse(rcpt).value();
    q.sender = "alice@sender.test";
    std::string error;
    q.to.hops.push_back(smtpclient::parse_next_hop(host.route(), error).value());
    q.by = std::make_shared<const smtpclient::transport>();
    q.helo = "mx.test";
    return q;
}

smtpclient::question with_catch_all_probe(smtpclient::question q) {
    auto by = std::make_shared<smtpclient::transport>(*q.by);
    by->catch_all_probe = true;
    q.by = std::move(by);
    return q;
}

std::string ask(engine& e, const smtpclient::question& q) {
    const answer a = e.ask(q, "policy", {clock_type::now() + 20s, {}});
    if (!a.verdict) return "pending";
    return std::string(to_string(a.verdict->finding.reason)) + ' ' +
           std::string(to_string(a.source));
}

// What one engine writes goes over another socket than what the other asks: it may come second.
bool soon(const std::function<bool()>& is_so) {
    const auto limit = clock_type::now() + 40s;
    while (!is_so()) {
        if (clock_type::now() > limit) return false;
        std::this_thread::sleep_for(1ms);
    }
    return true;
}

settings sharing(const tests::redis_server& redis) {
    settings s = default_settings();
    s.cache.store = "redis+unix:" + redis.path();
    s.cache.store_timeout = 10s;  // the machine may be busy
    return s;
}

// A domain closes when two of its recipients that were accepted are refused; the answers are old
// soon.
settings closing_soon(const tests::redis_server& redis) {
    settings s = sharing(redis);
    s.cache.deliverable = 1s;
    s.cache.stale = 1h;
    s.interlock.flip_limit = 2;
    s.interlock.flip_window = 3s;
    return s;
}

const std::vector<std::string> of_a{"a@a.test", "b@a.test", "c@a.test"};

struct two_engines {
    explicit two_engines(std::string_view rules, const settings& s, const tests::redis_server& r)
        : host(rules), redis(r), one(s, 2), two(s, 2) {
        REQUIRE(soon([this] { return is_ready(one) && is_ready(two); }));
    }
    static bool is_ready(engine& e) {
        return e.shared()->health().what == fleet::trouble::none && e.shared()->hears_notices();
    }
    // Both subscriptions end, and come back with hear(): what is told meanwhile is missed.
    void deafen() {
        CHECK(redis.ask({"ACL", "SETUSER", "default", "resetchannels"}) == "OK");
        REQUIRE(soon(
            [this] { return !one.shared()->hears_notices() && !two.shared()->hears_notices(); }));
    }
    void hear() {
        CHECK(redis.ask({"ACL", "SETUSER", "default", "allchannels"}) == "OK");
        REQUIRE(soon([this] { return is_ready(one) && is_ready(two); }));
    }

    played_next_hop host;
    const tests::redis_server& redis;
    engine one;
    engine two;
};

}  // namespace

TEST_CASE("what one engine has asked the other knows, a refusal of its sender, too") {
    const tests::redis_server redis;
    two_engines e(
        "rcpt nobody@* 550 5.1.1 no such user\nrcpt bare@* 550 no\n", sharing(redis), redis);
    for (const auto& [rcpt, reason] :
         std::map<std::string, std::string>{{"u@a.test", "accepted"},
                                            {"nobody@a.test", "unknown_user"},
                                            {"bare@a.test", "unknown_user"}}) {
        CHECK(ask(e.one, about(e.host, rcpt)) == reason + " probe");
        CHECK(soon([&] { return ask(e.two, about(e.host, rcpt)) == reason + " cache"; }));
    }
    CHECK(e.host.count("rcpt ") == 3);
}

TEST_CASE("an address that is forgotten on one engine is asked about again from both") {
    const tests::redis_server redis;
    two_engines e("", sharing(redis), redis);
    const auto q = about(e.host, "u@a.test");
    CHECK(ask(e.one, q) == "accepted probe");
    CHECK(soon([&] { return ask(e.two, q) == "accepted cache"; }));
    e.one.known().forget(q.recipient);
    // What was learnt counts for hours, and without a notice for the minute of store_trust.
    CHECK(soon([&] { return ask(e.two, q) == "accepted probe"; }));
    CHECK(soon([&] { return ask(e.one, q) == "accepted cache"; }));
    CHECK(e.host.count("rcpt ") == 2);
}

TEST_CASE("a refusal that is not kept takes the older acceptance out of the shared store") {
    const tests::redis_server redis;
    settings s = sharing(redis);
    s.cache.deliverable = 1s;
    s.cache.undeliverable = 0s;
    s.interlock.flip_limit = 0;
    two_engines e("", s, redis);
    const auto records = [&] { return redis.ask({"KEYS", "*}r*"}); };
    for (const auto& [rules, reason] :
         std::map<std::string, std::string>{{"rcpt * 552 5.2.2 mailbox full\n", "mailbox_full"},
                                            {"rcpt * 550 5.1.1 no such user\n", "unknown_user"}}) {
        const auto q = about(e.host, reason + "@a.test");
        e.host.use("rcpt * 250 2.1.5 ok\n");
        CHECK(ask(e.one, q) == "accepted probe");
        CHECK(soon([&] { return !records().empty(); }));
        e.host.use(rules);
        CHECK(soon([&] { return ask(e.one, q).starts_with(reason); }));
        CHECK(soon([&] { return records().empty(); }));
    }
}

TEST_CASE("a domain that is forgotten, and all that is, are so on both engines") {
    const tests::redis_server redis;
    two_engines e("", sharing(redis), redis);
    const auto q = about(e.host, "u@a.test");
    CHECK(ask(e.one, q) == "accepted probe");
    CHECK(soon([&] { return ask(e.two, q) == "accepted cache"; }));
    e.two.known().forget_domain("a.test");
    CHECK(soon([&] { return ask(e.one, q) == "accepted probe"; }));
    CHECK(e.host.count("rcpt ") == 2);
}

TEST_CASE("after everything was forgotten no loop of an engine finds what was known before") {
    const tests::redis_server redis;
    two_engines e("", sharing(redis), redis);
    std::vector<smtpclient::question> all;
    for (int i = 0; i < 40; ++i) all.push_back(about(e.host, "u" + std::to_string(i) + "@a.test"));
    for (const auto& q : all) CHECK(ask(e.one, q) == "accepted probe");
    for (const auto& q : all) CHECK(soon([&] { return ask(e.two, q) == "accepted cache"; }));
    e.host.use("rcpt * 550 5.1.1 no such user\n");
    e.one.known().forget_all();
    for (const auto& q : all) CHECK(ask(e.one, q) == "unknown_user probe");
    CHECK(soon([&] { return e.two.known().size().deliverable == 0; }));
    for (const auto& q : all) CHECK(ask(e.two, q).starts_with("unknown_user"));
}

TEST_CASE("an address that is declared on one engine is known to both") {
    const tests::redis_server redis;
    two_engines e("rcpt new@* 550 5.1.1 no such user\n", sharing(redis), redis);
    const auto q = about(e.host, "new@a.test");
    CHECK(ask(e.one, q) == "unknown_user probe");
    CHECK(soon([&] { return ask(e.two, q) == "unknown_user cache"; }));
    e.one.known().declare(q.recipient, verdicts::moment::now());
    CHECK(soon([&] { return ask(e.two, q) == "accepted cache"; }));
    CHECK(ask(e.one, q) == "accepted cache");
    CHECK(e.host.count("rcpt ") == 1);
}

TEST_CASE("refusals that one engine sees close the domain on the other, and it opens again") {
    const tests::redis_server redis;
    two_engines e("", closing_soon(redis), redis);
    for (const auto& name : of_a) CHECK(ask(e.one, about(e.host, name)) == "accepted probe");
    e.host.use("rcpt * 550 5.1.1 no such user\n");
    const auto anybody = smtpclient::mailbox::parse("x@a.test").value();
    CHECK(soon([&] {
        for (const auto& name : of_a) static_cast<void>(ask(e.one, about(e.host, name)));
        return e.two.is_suspended(anybody);
    }));
    CHECK_FALSE(e.two.is_suspended(smtpclient::mailbox::parse("x@b.test").value()));
    CHECK(soon([&] { return !e.one.is_suspended(anybody) && !e.two.is_suspended(anybody); }));
}

TEST_CASE("what was refused just before a domain closed is asked about again from both") {
    const tests::redis_server redis;
    two_engines e("", closing_soon(redis), redis);
    for (const auto& name : of_a) CHECK(ask(e.one, about(e.host, name)) == "accepted probe");
    e.host.use("rcpt * 550 5.1.1 no such user\n");
    const auto q = about(e.host, "new@a.test");
    CHECK(ask(e.one, q) == "unknown_user probe");
    CHECK(soon([&] { return ask(e.two, q) == "unknown_user cache"; }));
    CHECK(soon([&] {
        for (const auto& name : of_a) static_cast<void>(ask(e.one, about(e.host, name)));
        return e.one.is_suspended(q.recipient) && e.two.is_suspended(q.recipient);
    }));
    e.host.use("");
    CHECK(soon([&] { return ask(e.two, q).starts_with("accepted"); }));
    CHECK(soon([&] { return ask(e.one, q).starts_with("accepted"); }));
}

TEST_CASE("when notices are lost, memory is believed for a while, and then the store is asked") {
    tests::redis_server redis;
    settings s = sharing(redis);
    s.cache.store_trust = 500ms;
    two_engines e("", s, redis);
    const auto q = about(e.host, "u@a.test");
    CHECK(ask(e.one, q) == "accepted probe");
    CHECK(ask(e.one, q) == "accepted cache");
    redis.kill();
    CHECK(soon([&] { return ask(e.one, q) == "accepted probe"; }));
    redis.start();
    CHECK(soon([&] { return two_engines::is_ready(e.one) && two_engines::is_ready(e.two); }));
    CHECK(soon([&] { return ask(e.one, q) == "accepted probe"; }));  // it has come back empty
    CHECK(soon([&] { return ask(e.two, q) == "accepted cache"; }));
}

namespace {

// What it holds is still there when it is killed and started again.
const std::vector<std::string> persistent{"--appendonly", "yes"};

}  // namespace

TEST_CASE("what is forgotten while the store is away is not found in it when it is back") {
    tests::redis_server redis(persistent);
    settings s = sharing(redis);
    s.cache.store_trust = 2s;
    two_engines e("", s, redis);
    const auto q = about(e.host, "u@a.test");
    CHECK(ask(e.one, q) == "accepted probe");
    CHECK(soon([&] { return ask(e.two, q) == "accepted cache"; }));
    redis.kill();
    CHECK(soon([&] { return !two_engines::is_ready(e.one) && !two_engines::is_ready(e.two); }));
    SUBCASE("an address") {
        e.one.known().forget(q.recipient);
    }
    SUBCASE("a domain") {
        e.one.known().forget_domain("a.test");
    }
    SUBCASE("all") {
        e.one.known().forget_all();
    }
    e.host.use("rcpt * 550 5.1.1 no such user\n");
    redis.start();
    CHECK(soon([&] { return two_engines::is_ready(e.one) && two_engines::is_ready(e.two); }));
    CHECK(ask(e.one, q) == "unknown_user probe");
    CHECK(soon([&] { return ask(e.two, q).starts_with("unknown_user"); }));
}

TEST_CASE("what is forgotten while the store takes nothing new is forgotten when it does again") {
    const tests::redis_server redis;
    two_engines e("", sharing(redis), redis);
    const auto q = about(e.host, "u@a.test");
    CHECK(ask(e.one, q) == "accepted probe");
    CHECK(soon([&] { return ask(e.two, q) == "accepted cache"; }));
    std::vector<std::string> repair;
    SUBCASE("full") {
        CHECK(redis.ask({"CONFIG", "SET", "maxmemory", "1"}) == "OK");
        repair = {"CONFIG", "SET", "maxmemory", "0"};
    }
    SUBCASE("read-only") {
        CHECK(redis.ask({"REPLICAOF", "127.0.0.1", "1"}) == "OK");
        repair = {"REPLICAOF", "NO", "ONE"};
    }
    e.one.known().forget(q.recipient);
    e.host.use("rcpt * 550 5.1.1 no such user\n");
    // Still read, but not about this one.
    CHECK(ask(e.one, q) == "unknown_user probe");
    CHECK(redis.ask(repair) == "OK");
    CHECK(soon([&] { return ask(e.two, q).starts_with("unknown_user"); }));
}

TEST_CASE(
    "that all was forgotten while no notice came is known before the store is believed again") {
    const tests::redis_server redis;
    settings s = sharing(redis);
    s.cache.store_trust = 1s;  // less than between two looks at the seed
    two_engines e("", s, redis);
    const auto q = about(e.host, "u@a.test");
    CHECK(ask(e.one, q) == "accepted probe");
    CHECK(soon([&] { return ask(e.two, q) == "accepted cache"; }));
    e.host.use("rcpt * 550 5.1.1 no such user\n");
    // As another edge does it whose notice gets lost.
    CHECK(redis.ask({"SET", "callforward:seed", "1:" + std::string(32, 'a')}) == "OK");
    CHECK(redis.ask({"CLIENT", "KILL", "TYPE", "pubsub"}) == "2");
    CHECK(soon([&] { return ask(e.two, q).starts_with("unknown_user"); }));
    CHECK(soon([&] { return ask(e.one, q).starts_with("unknown_user"); }));
}

TEST_CASE("what is declared while the store is away is known to all when it is back") {
    tests::redis_server redis(persistent);
    settings s = sharing(redis);
    s.cache.store_trust = 2s;
    two_engines e("rcpt new@* 550 5.1.1 no such user\n", s, redis);
    const auto q = about(e.host, "new@a.test");
    CHECK(ask(e.one, q) == "unknown_user probe");
    CHECK(soon([&] { return ask(e.two, q) == "unknown_user cache"; }));
    redis.kill();
    CHECK(soon([&] { return !two_engines::is_ready(e.one) && !two_engines::is_ready(e.two); }));
    e.one.known().declare(q.recipient, verdicts::moment::now());
    redis.start();
    CHECK(soon([&] { return ask(e.two, q) == "accepted cache"; }));
    CHECK(ask(e.one, q) == "accepted cache");
}

TEST_CASE("a late answer to a question from before notices were lost is looked up after them") {
    const tests::redis_server redis;
    settings s = sharing(redis);
    s.cache.store_trust = 300ms;
    two_engines e("rcpt slow@* DELAY 6000 250 ok\n", s, redis);
    const auto q = about(e.host, "slow@a.test");
    std::thread asks([&] { static_cast<void>(ask(e.two, q)); });
    CHECK(e.host.wait_for("mail"));
    e.deafen();
    e.one.known().forget(q.recipient);
    CHECK(e.one.shared()->unwritten().wait(0, 30s).written);
    e.hear();
    asks.join();
    e.host.use("rcpt * 550 5.1.1 no such user\n");
    CHECK(soon([&] { return ask(e.two, q).starts_with("unknown_user"); }));
}

TEST_CASE("that a host takes anybody is shared where it was found out, not where it was known") {
    const tests::redis_server redis;
    two_engines e("", sharing(redis), redis);
    CHECK(ask(e.one, with_catch_all_probe(about(e.host, "a@a.test"))) == "catch_all probe");
    const auto b = with_catch_all_probe(about(e.host, "b@a.test"));
    CHECK(ask(e.one, b) == "catch_all cache");
    // Looked up over the same connection: what was told of the other one has come before.
    CHECK(ask(e.one, with_catch_all_probe(about(e.host, "c@a.test"))) == "catch_all cache");
    CHECK(ask(e.two, b) == "catch_all probe");
}

TEST_CASE("that a host takes anybody is forgotten with its domain by who missed the notice") {
    const tests::redis_server redis;
    two_engines e("", sharing(redis), redis);
    CHECK(ask(e.two, with_catch_all_probe(about(e.host, "a@a.test"))) == "catch_all probe");
    e.deafen();
    e.host.use("rcpt * 550 5.1.1 no such user\n");
    e.one.known().forget_domain("a.test");
    CHECK(e.one.shared()->unwritten().wait(0, 30s).written);
    e.hear();
    const auto q = with_catch_all_probe(about(e.host, "nobody@a.test"));
    CHECK(ask(e.two, q) == "unknown_user probe");
    CHECK(ask(e.one, q).starts_with("unknown_user"));
}
