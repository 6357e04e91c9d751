// What one more session costs a host that has some: openings that fail, at once or later, and those
// that nobody would need.
#include "smtpclient/shunned_addresses.h"
#include "tests/smtpclient/caller.h"
#include "tests/smtpclient/crowd.h"
#include "tests/smtpclient/loop_server.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace callforward;
using namespace callforward::smtpclient;
using namespace callforward::testing;
using namespace std::chrono_literals;
using what = loop_server::session::what;

namespace {

session_limits kept_unrefused() {
    session_limits limits = kept_sessions();
    limits.recipients_refused_per_session = 0;
    return limits;
}

}  // namespace

TEST_CASE("who waits while no connection is left is answered in the session that there is") {
    for (const auto work : {100ms, 2500ms}) {  // the second is due for so long that it is stalled
        CAPTURE(work.count());
        session_limits limits = kept_unrefused();
        limits.connections = 1;
        crowd all(limits);
        const loop_server server(all.loop, [&](auto& s, const std::string& c) {
            if (c.find("known1@") != std::string::npos) s.work = work;
            return one_by_one(s, c);
        });
        all.ask(server.hop(), "known1");
        CHECK(all.run_until([&] { return server.recipients() == 1; }));
        for (std::size_t i = 2; i < 8; ++i) all.ask(server.hop(), "known" + std::to_string(i));
        all.run();
        CHECK(all.wrong() == 0);
        CHECK(server.sessions().size() == 1);
    }
}

TEST_CASE("a next hop with one slow session that takes no other is not stormed") {
    for (const char* const greeting : {"421 4.7.0 too many connections\r\n", ""}) {
        CAPTURE(greeting);
        crowd all(kept_unrefused());
        const loop_server server(all.loop, [&](auto& s, const std::string& c) {
            if (c.empty() && s.number > 1) {
                s.then = what::close;
                return std::string(greeting);
            }
            if (c.find("known1@") != std::string::npos) s.work = 4s;
            return one_by_one(s, c);
        });
        all.ask(server.hop(), "known1");
        CHECK(all.run_until([&] { return server.recipients() == 1; }));
        for (std::size_t i = 2; i < 8; ++i) all.ask(server.hop(), "known" + std::to_string(i));
        all.run();
        CHECK(all.wrong() == 0);
        // One after 1, 2 and 4 seconds at the most, and those that were tried at first.
        CHECK(server.sessions().size() <= 10);
    }
}

TEST_CASE("one that needs a session of its own sends one other away, not all") {
    session_limits limits = kept_unrefused();
    limits.connections_per_host = 4;
    crowd all(limits);
    bool refuses = false;
    const loop_server server(
        all.loop,
        [&](auto& s, const std::string& c) {
            if (refuses && c.starts_with("RCPT")) {
                refuses = false;
                return std::string("452 4.5.3 enough\r\n");
            }
            if (c.starts_with("RCPT")) s.work = 100ms;
            return one_by_one(s, c);
        },
        20ms);
    for (std::size_t i = 0; i < 12; ++i) all.ask(server.hop(), "known" + std::to_string(i));
    all.run();
    all.settle();
    REQUIRE(server.sessions().size() == 4);
    refuses = true;
    all.ask(server.hop(), "known20");
    all.run();
    CHECK(all.wrong() == 0);
    // The one that was refused in, at most one that made way, and the new one.
    CHECK(server.sessions().size() == 5);
    CHECK(server.open_now() >= 3);
}

TEST_CASE("hosts differ by the time that their openings may take") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, [&](auto& s, const std::string& c) {
        if (c.empty()) s.work = 1s;
        return pipelining(s, c);
    });
    question hasty = question_for(server.hop(), "known1");
    change(hasty, [](transport& by) { by.timeout = 300ms; });
    const auto& first = all.ask(std::move(hasty));
    const auto& second = all.ask(server.hop(), "known2");
    all.run();
    CHECK(first.words() == "undetermined timed_out greeting");
    CHECK(second.is_right());
}

TEST_CASE("connections_per_host is for all who ask a host, whatever their policies") {
    session_limits limits = kept_unrefused();
    limits.connections_per_host = 4;
    crowd all(limits);
    const loop_server server(all.loop, one_by_one, 10ms);
    for (std::size_t i = 0; i < 240; ++i) {
        question q = question_for(server.hop(), "known" + std::to_string(i));
        change(q, [&](transport& by) { by.connect_timeout += std::chrono::seconds(i % 3); });
        all.ask(std::move(q));
    }
    all.run();
    CHECK(all.wrong() == 0);
    // One for each of the others, at the most.
    CHECK(server.most_open() <= 6);
}

TEST_CASE("an address that could not be reached is left alone for host_penalty, then tried again") {
    for (const auto penalty : {20s, 0s}) {
        session_limits limits = brief_sessions();
        limits.idle_session = 0ms;
        limits.host_penalty = penalty;
        crowd all(limits);
        const loop_server second(all.loop, pipelining, 0ms, "127.0.0.3");
        all.resolver.address("mx.next.test", {"127.0.0.2", "127.0.0.3"});
        const std::string hop = "[mx.next.test]:" + std::to_string(second.port());
        all.ask(hop, "known1");
        all.run();
        CHECK(second.sessions().size() == 1);
        // There again, which nobody knows yet.
        const loop_server first(all.loop, pipelining, 0ms, "127.0.0.2", second.port());
        all.ask(hop, "known2");
        all.run();
        CHECK(first.sessions().size() == (penalty == 0s ? 1 : 0));
        CHECK(second.sessions().size() == (penalty == 0s ? 1 : 2));
        CHECK(all.wrong() == 0);
    }
}

TEST_CASE("a host of many addresses that refuse leaves a burst the connections for the next host") {
    crowd all(kept_unrefused());
    const loop_server second(all.loop, pipelining, 0ms, "127.0.0.3");
    all.resolver.mx("next.test", {{10, "mx1.next.test"}, {20, "mx2.next.test"}});
    std::vector<std::string> nobody;
    for (int i = 10; i < 18; ++i) nobody.push_back("127.0.0." + std::to_string(i));
    all.resolver.address("mx1.next.test", nobody);
    all.resolver.address("mx2.next.test", {"127.0.0.3"});
    for (std::size_t i = 0; i < 30; ++i) {
        all.ask(question_to_mx(second.port(), "known" + std::to_string(i) + "@next.test"));
    }
    all.run();
    CHECK(all.wrong() == 0);
}

TEST_CASE("of addresses that are left alone one session tries which is there again") {
    const endpoint a{dns::ip_address::parse("192.0.2.1"), 25, {}};
    const endpoint b{dns::ip_address::parse("192.0.2.2"), 25, {}};
    const auto is_first = [](shunned_addresses& shunned, const endpoint& who, steady_time now) {
        std::vector<endpoint> all{{dns::ip_address::parse("192.0.2.1"), 25, {}},
                                  {dns::ip_address::parse("192.0.2.2"), 25, {}}};
        shunned.put_last(all, now, now + 60s);
        REQUIRE(all.size() == 2);
        return all.front().text() == who.text();
    };
    const steady_time start{1000h};
    shunned_addresses shunned;
    CHECK(is_first(shunned, a, start));
    shunned.note(a, start + 60s);
    CHECK(is_first(shunned, b, start + 59s));
    CHECK(is_first(shunned, a, start + 60s));
    CHECK(is_first(shunned, b, start + 61s));
    shunned.forget(a);
    CHECK(is_first(shunned, a, start + 61s));
}

TEST_CASE("all addresses of a host are tried, in whatever order, before it is out of reach") {
    session_limits limits = brief_sessions();
    limits.idle_session = 0ms;
    limits.host_penalty = 20s;
    crowd all(limits);
    const loop_server second(all.loop, pipelining, 0ms, "127.0.0.3");
    const std::uint16_t port = second.port();
    all.resolver.address("mx.next.test", {"127.0.0.2", "127.0.0.3"});
    const std::string hop = "[mx.next.test]:" + std::to_string(port);
    all.ask(hop, "known1");
    all.run();
    all.settle();
    const loop_server first(all.loop, pipelining, 0ms, "127.0.0.2", port);
    all.resolver.address("mx.next.test", {"127.0.0.2", "127.0.0.4"});
    all.ask(hop, "known2");
    all.run();
    CHECK(first.sessions().size() == 1);
    CHECK(all.wrong() == 0);
}
