#include "milter/engine.h"

#include "tests/milter/played_next_hop.h"
#include "tests/milter/scratch_folder.h"
#include "tests/support/dns_server.h"

#include <doctest/doctest.h>

#include <functional>
#include <future>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace callforward;
using namespace callforward::milter;
using namespace std::chrono_literals;
using callforward::tests::played_next_hop;
using smtpclient::reason;

namespace {

using clock = std::chrono::steady_clock;

smtpclient::question about(const played_next_hop& host,
                           const std::string& rcpt,
                           const std::string& sender = "alice@sender.test") {
    smtpclient::question q;
    q.recipient = smtpclient::mailbox::parse(rcpt).value();
    q.sender = sender;
    std::string error;
    q.to.hops.push_back(smtpclient::parse_next_hop(host.route(), error).value());
    q.by = std::make_shared<const smtpclient::transport>();
    q.helo = "mx.test";
    return q;
}

patience for_at_most(std::chrono::milliseconds time) {
    return {clock::now() + time, {}};
}

struct asked {
    std::string reason;
    std::string source;

    bool operator==(const asked&) const = default;
};
std::ostream& operator<<(std::ostream& out, const asked& a) {
    return out << a.reason << ' ' << a.source;
}

asked ask(engine& e, smtpclient::question q, std::chrono::milliseconds time = 20s) {
    const answer a = e.ask(std::move(q), "policy", for_at_most(time));
    return {a.verdict ? std::string(to_string(a.verdict->finding.reason)) : "pending",
            std::string(to_string(a.source))};
}

std::future<asked> ask_beside(engine& e, smtpclient::question q) {
    return std::async(std::launch::async, [&e, q = std::move(q)] { return ask(e, q); });
}

}  // namespace

TEST_CASE("an answer is asked for once and then known") {
    const played_next_hop host("rcpt nobody@* 550 5.1.1 no such user\n");
    engine e(tests::in_memory_settings(), 1);
    CHECK(ask(e, about(host, "u@a.test")) == asked{"accepted", "probe"});
    CHECK(ask(e, about(host, "u@A.TEST")) == asked{"accepted", "cache"});
    CHECK(ask(e, about(host, "u@a.test", "bob@sender.test")) == asked{"accepted", "cache"});
    CHECK(ask(e, about(host, "nobody@a.test")) == asked{"unknown_user", "probe"});
    CHECK(ask(e, about(host, "nobody@a.test")) == asked{"unknown_user", "cache"});
    CHECK(host.count("rcpt ") == 2);
}

TEST_CASE("equal questions at the same time are one call-forward, whoever sends") {
    const played_next_hop host("rcpt slow@* DELAY 300 550 5.1.1 no such user\n");
    engine e(tests::in_memory_settings(), 2);
    std::vector<std::future<asked>> answers;
    for (int i = 0; i < 30; ++i) {
        answers.push_back(
            ask_beside(e, about(host, "slow@a.test", "s" + std::to_string(i) + "@sender.test")));
    }
    std::size_t probes = 0;
    for (auto& each : answers) {
        const asked a = each.get();
        CHECK(a.reason == "unknown_user");
        CHECK(a.source != "none");
        if (a.source == "probe") ++probes;
    }
    CHECK(probes == 1);
    CHECK(host.count("rcpt slow@") == 1);
}

TEST_CASE("what was about another's sender is not taken, but asked for again") {
    const played_next_hop host("mail bad@* DELAY 300 550 5.7.1 not you\n");
    engine e(tests::in_memory_settings(), 1);
    auto refused = ask_beside(e, about(host, "u@a.test", "bad@sender.test"));
    REQUIRE(host.wait_for("ehlo"));
    CHECK(ask(e, about(host, "u@a.test", "good@sender.test")) == asked{"accepted", "probe"});
    CHECK(refused.get() == asked{"sender_refused", "probe"});
    CHECK(host.count("mail ") == 2);
}

TEST_CASE("a question without an answer in time goes on, and is known afterwards") {
    const played_next_hop host("rcpt slow@* DELAY 6000 250 2.1.5 ok\n");
    engine e(tests::in_memory_settings(), 1);
    CHECK(ask(e, about(host, "slow@a.test"), 50ms) == asked{"pending", "probe"});
    CHECK(ask(e, about(host, "slow@a.test"), 50ms) == asked{"pending", "shared"});
    CHECK(ask(e, about(host, "slow@a.test")) == asked{"accepted", "shared"});
    CHECK(ask(e, about(host, "slow@a.test")) == asked{"accepted", "cache"});
    CHECK(host.count("rcpt slow@") == 1);
}

TEST_CASE("a question ends at its own timeout, and that is no refusal") {
    const played_next_hop host("rcpt * STALL\n");
    engine e(tests::in_memory_settings(), 1);
    auto q = about(host, "u@a.test");
    smtpclient::transport hurried;
    hurried.timeout = 300ms;
    q.by = std::make_shared<const smtpclient::transport>(hurried);
    const answer a = e.ask(q, "policy", for_at_most(20s));
    REQUIRE(a.verdict);
    CHECK(a.verdict->outcome() == smtpclient::outcome::undetermined);
    CHECK(a.verdict->finding.reason == reason::timed_out);
}

TEST_CASE("a reload changes neither a question under way nor what is known") {
    const played_next_hop host("rcpt slow@* DELAY 300 250 2.1.5 ok\n");
    settings s = tests::in_memory_settings();
    engine e(s, 2);
    CHECK(ask(e, about(host, "u@a.test")) == asked{"accepted", "probe"});
    auto under_way = ask_beside(e, about(host, "slow@a.test"));
    REQUIRE(host.wait_for("mail ", 2));
    for (int i = 0; i < 20; ++i) {
        s.routing.my_names = {"name" + std::to_string(i) + ".test"};
        s.dns.servers = {"127.0.0.1:" + std::to_string(1000 + i)};
        e.use(s);
    }
    CHECK(under_way.get() == asked{"accepted", "probe"});
    CHECK(ask(e, about(host, "u@a.test")) == asked{"accepted", "cache"});
    CHECK(ask(e, about(host, "v@a.test")) == asked{"accepted", "probe"});
}

TEST_CASE("a resolver that a reload replaces still answers those who wait for it") {
    const callforward::test::dns_server dns("gone.test DELAY 200\ngone.test NXDOMAIN\n");
    settings s = tests::in_memory_settings();
    s.dns.servers = {dns.address()};
    engine e(s, 1);
    smtpclient::question q;
    q.recipient = smtpclient::mailbox::parse("u@gone.test").value();
    q.to.recipient_mx = true;
    q.by = std::make_shared<const smtpclient::transport>();
    q.helo = "mx.test";
    auto under_way = ask_beside(e, q);
    while (dns.questions() == 0) std::this_thread::yield();
    for (int i = 0; i < 20; ++i) {
        s.routing.my_names = {"name" + std::to_string(i) + ".test"};
        e.use(s);
    }
    CHECK(under_way.get() == asked{"no_such_domain", "probe"});
}

TEST_CASE("a reload makes new resolvers when resolv.conf names other servers, and only then") {
    // That those are asked cannot be seen here: the file names no ports, and 53 is not ours. But
    // what a shard asks with is made anew as a whole, and then knows no host.
    const played_next_hop host("");
    const tests::scratch_folder folder;
    settings s = tests::in_memory_settings();
    s.dns.resolv_conf = folder.write("resolv.conf", "nameserver 127.0.0.1\n");
    engine e(s, 1);
    const auto hosts_known = [&] { return e.hosts(20s).hosts.size(); };
    CHECK(ask(e, about(host, "u@a.test")) == asked{"accepted", "probe"});
    CHECK(hosts_known() == 1);
    e.use(s);
    CHECK(hosts_known() == 1);
    folder.write("resolv.conf", "search a.test\nnameserver 127.0.0.1\n");
    e.use(s);
    CHECK(hosts_known() == 1);
    folder.write("resolv.conf", "nameserver 127.0.0.2\n");
    CHECK(hosts_known() == 1);
    e.use(s);
    CHECK(hosts_known() == 0);
    // Who names servers needs no file.
    s.dns.servers = {"127.0.0.1"};
    e.use(s);
    CHECK(ask(e, about(host, "v@a.test")) == asked{"accepted", "probe"});
    folder.write("resolv.conf", "nameserver 127.0.0.3\n");
    e.use(s);
    CHECK(hosts_known() == 1);
}

TEST_CASE(
    "who accepts anybody is asked again after its domain, or all, or an address is forgotten") {
    const auto with_test = [](const played_next_hop& at, const std::string& rcpt) {
        auto q = about(at, rcpt);
        auto by = *q.by;
        by.catch_all_probe = true;
        q.by = std::make_shared<const smtpclient::transport>(std::move(by));
        return q;
    };
    using forgetting = std::function<void(verdicts::cache&)>;
    const std::vector<forgetting> ways = {
        [](auto& c) { c.forget_domain("a.test"); },
        [](auto& c) { c.forget_all(); },
        [](auto& c) { c.forget(smtpclient::mailbox::parse("new@A.test").value()); },
        // As other edges do it.
        [](auto& c) {
            c.apply({{verdicts::change::kind::forget_domain, "a.test"}}, verdicts::moment::now());
        },
        [](auto& c) {
            c.apply({{verdicts::change::kind::forget_all, ""}}, verdicts::moment::now());
        },
        [](auto& c) {
            c.apply({{verdicts::change::kind::forget_address, "new@a.test"}},
                    verdicts::moment::now());
        }};
    for (const auto& forget : ways) {
        played_next_hop host("");
        engine e(tests::in_memory_settings(), 2);
        CHECK(ask(e, with_test(host, "u@a.test")) == asked{"catch_all", "probe"});
        // Nobody has asked about this one.
        CHECK(ask(e, with_test(host, "w@a.test")) == asked{"catch_all", "cache"});
        CHECK(host.count("rcpt ") == 1);
        host.use("rcpt * 550 5.1.1 no such user\n");
        CHECK(ask(e, with_test(host, "v@a.test")) == asked{"catch_all", "cache"});
        forget(e.known());
        CHECK(ask(e, with_test(host, "new@a.test")) == asked{"unknown_user", "probe"});
    }
}

TEST_CASE("lifetimes of a reload count for what is learnt after it") {
    const played_next_hop host("");
    settings s = tests::in_memory_settings();
    s.cache.deliverable = 0s;
    engine e(s, 1);
    CHECK(ask(e, about(host, "u@a.test")) == asked{"accepted", "probe"});
    CHECK(ask(e, about(host, "u@a.test")) == asked{"accepted", "probe"});
    e.use(tests::in_memory_settings());
    CHECK(ask(e, about(host, "u@a.test")) == asked{"accepted", "probe"});
    CHECK(ask(e, about(host, "u@a.test")) == asked{"accepted", "cache"});
}

TEST_CASE("of a flood of reply text only the beginning is kept") {
    std::string lines;
    for (int i = 0; i < 100; ++i) lines += "550-5.1.1 " + std::string(600, 'x') + "\\r\\n";
    const played_next_hop host("rcpt * RAW " + lines + "550 5.1.1 end\\r\\n\n");
    engine e(tests::in_memory_settings(), 1);
    const answer a = e.ask(about(host, "u@a.test"), "policy", for_at_most(20s));
    REQUIRE(a.verdict);
    CHECK(a.verdict->finding.reason == reason::unknown_user);
    REQUIRE(a.verdict->reply);
    std::size_t size = 0;
    for (const auto& line : a.verdict->reply->lines) size += line.size();
    CHECK(size > 1000);
    CHECK(size <= 2048);
    CHECK(a.verdict->reply->text().starts_with("xxxx"));
}

TEST_CASE("an engine ends with questions under way") {
    const played_next_hop host("rcpt * STALL\n");
    {
        engine e(tests::in_memory_settings(), 2);
        for (int i = 0; i < 8; ++i) {
            CHECK(ask(e, about(host, "u" + std::to_string(i) + "@a.test"), 1ms).reason ==
                  "pending");
        }
        CHECK(host.wait_for("ehlo", 8));
    }
    CHECK(host.wait_for("disconnect", 8));
}

TEST_CASE("Who asks after a change does not join who asked before it, whose answer is not kept") {
    const std::vector<std::pair<std::string, std::function<void(engine&)>>> changes{
        {"forget",
         [](engine& e) { e.known().forget(smtpclient::mailbox::parse("u@a.test").value()); }},
        {"forget domain", [](engine& e) { e.known().forget_domain("a.test"); }},
        {"forget all", [](engine& e) { e.known().forget_all(); }}};
    for (const auto& [name, change] : changes) {
        CAPTURE(name);
        played_next_hop host("rcpt u@* DELAY 1000 550 5.1.1 no such user\n");
        engine e(tests::in_memory_settings(), 1);
        auto before = ask_beside(e, about(host, "u@a.test"));
        REQUIRE(host.wait_for("ehlo"));
        change(e);
        host.use("");
        CHECK(ask(e, about(host, "u@a.test")).source == "probe");
        CHECK(before.get().source == "probe");
        CHECK(ask(e, about(host, "u@a.test")) == asked{"accepted", "cache"});
    }
}

TEST_CASE("What is declared while the next hop is asked is not refused afterwards") {
    const played_next_hop host("rcpt u@* DELAY 500 550 5.1.1 no such user\n");
    engine e(tests::in_memory_settings(), 1);
    auto before = ask_beside(e, about(host, "u@a.test"));
    REQUIRE(host.wait_for("ehlo"));
    e.known().declare(smtpclient::mailbox::parse("u@a.test").value(), verdicts::moment::now());
    CHECK(ask(e, about(host, "u@a.test")) == asked{"accepted", "cache"});
    CHECK(before.get() == asked{"unknown_user", "probe"});
    CHECK(ask(e, about(host, "u@a.test")) == asked{"accepted", "cache"});
}
