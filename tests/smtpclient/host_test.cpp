// How much one next hop is asked at once, what happens while it is slow, short of sessions or away,
// and that nothing of it outlives what it stands on.
#include "smtpclient/host.h"

#include "dns/ares_resolver.h"
#include "tests/smtpclient/caller.h"
#include "tests/smtpclient/crowd.h"
#include "tests/smtpclient/loop_server.h"
#include "tests/support/socket.h"

#include <asio/co_spawn.hpp>
#include <asio/ip/udp.hpp>
#include <doctest/doctest.h>

#include <algorithm>

using namespace callforward;
using namespace callforward::smtpclient;
using namespace callforward::testing;
using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;
using what = loop_server::session::what;

namespace {

std::string mixed(std::size_t i) {
    static const std::array<std::string, 3> kinds{"known", "unknown", "later"};
    return kinds.at(i % kinds.size()) + std::to_string(i);
}

std::chrono::milliseconds longest(crowd& all) {
    return std::max_element(all.askers().begin(),
                            all.askers().end(),
                            [](const auto& a, const auto& b) { return a.after < b.after; })
        ->after;
}

bool is_for(const std::string& command, const std::string& local_part) {
    return command.starts_with("RCPT TO:<" + local_part + '@');
}

session_limits generous() {
    session_limits limits = brief_sessions();
    limits.idle_session = 2s;
    limits.recipients_refused_per_session = 0;
    return limits;
}

question question_for_mx(std::uint16_t port,
                         const std::string& local_part,
                         const std::string& domain = "next.test") {
    return question_to_mx(port, local_part + '@' + domain);
}

}  // namespace

TEST_CASE("200 at once take a few round trips where PIPELINING is offered") {
    crowd all(generous());
    const loop_server server(all.loop, pipelining, 50ms);
    for (std::size_t i = 0; i < 200; ++i) all.ask(server.hop(), mixed(i));
    all.run();
    CHECK(all.wrong() == 0);
    CHECK(server.recipients() == 200);
    CHECK(server.most_open() <= 20);
    MESSAGE("200 with 50 ms: " << longest(all).count() << " ms, " << server.sessions().size()
                               << " sessions");
    CHECK(longest(all) < 600ms);
}

TEST_CASE("without PIPELINING sessions grow from four to connections_per_host") {
    session_limits limits = generous();
    limits.connections_per_host = 10;
    crowd all(limits);
    const loop_server server(all.loop, one_by_one, 10ms);
    for (std::size_t i = 0; i < 200; ++i) all.ask(server.hop(), mixed(i));
    CHECK(all.run_until([&] { return server.most_open() == 4; }, 1s));
    all.run();
    CHECK(all.wrong() == 0);
    CHECK(server.most_open() == 10);
    CHECK(server.recipients() == 200);
    CHECK(longest(all) < 2s);
}

TEST_CASE("one slow recipient does not hold up the others of its session") {
    for (int round = 0; round < 2; ++round) {
        crowd all(generous());
        const loop_server server(
            all.loop,
            [](auto& s, const std::string& c) {
                if (is_for(c, "known0")) s.work = 3s;
                return pipelining(s, c);
            },
            5ms);
        // The pace is known, or not.
        if (round == 1) {
            for (std::size_t i = 1; i < 30; ++i) all.ask(server.hop(), mixed(i));
            all.run();
        }
        const auto& slow = all.ask(server.hop(), "known0");
        for (std::size_t i = 100; i < 150; ++i) all.ask(server.hop(), mixed(i));
        const auto others = [&] {
            return std::all_of(all.askers().begin(), all.askers().end(), [&](const auto& a) {
                return &a == &slow || a.told;
            });
        };
        CHECK(all.run_until(others, 1200ms));
        CHECK_FALSE(slow.told);
        CHECK(std::all_of(all.askers().begin(), all.askers().end(), [&](const auto& a) {
            return &a == &slow || a.is_right();
        }));
    }
}

TEST_CASE("a slow recipient does not make the next one go unnoticed") {
    crowd all(generous());
    const loop_server server(all.loop, [](auto& s, const std::string& c) {
        if (c.find("slow") != std::string::npos) s.work = 1000ms;
        return pipelining(s, c);
    });
    for (std::size_t i = 0; i < 20; ++i) all.ask(server.hop(), mixed(i));
    all.run();
    all.ask(server.hop(), "knownslow1");
    all.run();
    const auto& slow = all.ask(server.hop(), "knownslow2");
    for (std::size_t i = 100; i < 110; ++i) all.ask(server.hop(), mixed(i));
    CHECK(all.run_until(
        [&] {
            return std::all_of(all.askers().begin(), all.askers().end(), [&](const auto& a) {
                return &a == &slow || a.told;
            });
        },
        900ms));
    all.run();
    CHECK(all.wrong() == 0);
}

TEST_CASE("a next hop that needs 30 ms for each is asked over more sessions, not deeper ones") {
    crowd all(generous());
    const loop_server server(all.loop, [](auto& s, const std::string& c) {
        if (c.starts_with("RCPT")) s.work = 30ms;
        return pipelining(s, c);
    });
    for (std::size_t i = 0; i < 200; ++i) all.ask(server.hop(), mixed(i));
    all.run();
    CHECK(all.wrong() == 0);
    MESSAGE("200 of 30 ms each: " << longest(all).count() << " ms, " << server.most_open()
                                  << " sessions");
    // 200 * 30 ms / 20 sessions is 300 ms.
    CHECK(longest(all) < 1s);
    CHECK(server.most_open() == 20);
}

TEST_CASE("a next hop that stands four sessions gets four, and answers all") {
    for (const int way : {0, 1, 2}) {
        for (const auto& manners :
             {loop_server::answers(pipelining), loop_server::answers(one_by_one)}) {
            CAPTURE(way);
            crowd all(generous());
            loop_server* self = nullptr;
            loop_server server(all.loop, [&, how = manners](auto& s, const std::string& c) {
                if (c.empty() && self->open_now() > 4) {
                    s.then = way == 2 ? what::reset : what::close;
                    return std::string(way == 0 ? "421 4.7.0 too many connections\r\n" : "");
                }
                if (c.starts_with("RCPT")) s.work = 2ms;
                return how(s, c);
            });
            self = &server;
            for (std::size_t i = 0; i < 300; ++i) all.ask(server.hop(), mixed(i));
            all.run();
            CHECK(all.wrong() == 0);
            CHECK(server.sessions().size() <= 15);
        }
    }
}

TEST_CASE("a dead host is tried by the first, then left alone, then tried by one") {
    session_limits limits = generous();
    limits.host_penalty = 300ms;
    crowd all(limits);
    std::size_t connections = 0;
    bool alive = false;
    loop_server server(all.loop, [&](auto& s, const std::string& c) {
        if (c.empty()) ++connections;
        if (alive) return pipelining(s, c);
        s.then = what::close;
        s.work = 30ms;
        return std::string();
    });
    for (int i = 0; i < 10; ++i) all.ask(server.hop(), "known" + std::to_string(i));
    all.run();
    for (const auto& a : all.askers()) CHECK(a.words() == "undetermined disconnected greeting");
    const std::size_t first = connections;
    CHECK(first <= 4);
    for (int i = 10; i < 20; ++i) all.ask(server.hop(), "known" + std::to_string(i));
    all.run();
    for (std::size_t i = 10; i < 20; ++i) {
        CHECK(all.askers()[i].words() == "undetermined host_penalty connect");
        CHECK(all.askers()[i].after < 20ms);
    }
    CHECK(connections == first);
    all.run_for(300ms);
    for (int i = 20; i < 30; ++i) all.ask(server.hop(), "known" + std::to_string(i));
    all.run();
    CHECK(connections == first + 1);
    CHECK(all.askers()[20].words() == "undetermined disconnected greeting");
    CHECK(all.askers()[21].words() == "undetermined host_penalty connect");
    all.run_for(310ms);
    alive = true;
    all.ask(server.hop(), "known30");
    all.run();
    for (int i = 31; i < 40; ++i) all.ask(server.hop(), "known" + std::to_string(i));
    all.run();
    for (std::size_t i = 30; i < 40; ++i) CHECK(all.askers()[i].is_right());
}

TEST_CASE("without host_penalty a dead host is tried each time") {
    crowd all;
    const std::uint16_t closed = local_port(listen_on("127.0.0.2:0"));
    for (int i = 0; i < 3; ++i) {
        const auto& a = all.ask("127.0.0.2:" + std::to_string(closed), "known");
        all.run();
        CHECK(a.words() == "undetermined connect_failed connect");
    }
}

TEST_CASE("while the first MX host is left alone the second answers at once") {
    session_limits limits = generous();
    limits.host_penalty = 10s;
    crowd all(limits);
    const loop_server second(all.loop, pipelining, {}, "127.0.0.3");
    std::size_t tried = 0;
    const loop_server first(
        all.loop,
        [&](auto& s, const std::string&) {
            ++tried;
            s.then = what::close;
            s.work = 100ms;
            return std::string();
        },
        {},
        "127.0.0.2",
        second.port());
    all.resolver.mx("next.test", {{10, "mx1.next.test"}, {20, "mx2.next.test"}});
    all.resolver.address("mx1.next.test", {"127.0.0.2"});
    all.resolver.address("mx2.next.test", {"127.0.0.3"});
    for (std::size_t i = 0; i < 20; ++i) {
        all.ask(question_for_mx(second.port(), mixed(i)));
        all.run();
        CHECK(all.askers().back().is_right());
        if (i > 0) CHECK(all.askers().back().after < 50ms);
    }
    CHECK(tried == 1);
    CHECK(second.sessions().size() == 1);
}

TEST_CASE("a call_forward that goes leaves its sessions saying goodbye, wherever they stand") {
    for (const auto& manners :
         {loop_server::answers(pipelining), loop_server::answers(one_by_one)}) {
        for (int after = 0; after < 30; ++after) {
            CAPTURE(after);
            crowd all;
            const loop_server server(all.loop, manners, 2ms);
            for (std::size_t i = 0; i < 12; ++i) all.ask(server.hop(), mixed(i));
            if (after < 20) {
                // Mid-way: questions are not carried on, which only ends of loops may do.
                for (int n = 0; n < after * 8; ++n) all.loop.run_one_for(5ms);
                all.loop.stop();
                continue;
            }
            all.run();
            all.run_for(std::chrono::milliseconds(after - 20));
            all.dissolve();
            CHECK(all.run_until([&] { return server.open_now() == 0; }, 3s));
            CHECK(server.said_quit() == server.sessions().size());
        }
    }
}

TEST_CASE("a call_forward that goes while a host is being opened, or says goodbye, ends cleanly") {
    // Abandoned questions leave an opening behind.
    for (const bool silent : {true, false}) {
        crowd all;
        const loop_server server(all.loop, [&](auto& s, const std::string& c) {
            if (silent || c == "QUIT") return std::string();
            return pipelining(s, c);
        });
        question q = question_for(server.hop(), "known1");
        if (silent) end_within(q, 30ms);
        change(q, [](transport& by) {
            by.timeout = 500ms;
            by.reply_timeout = 300ms;
        });
        all.ask(std::move(q));
        all.run();
        if (!silent) CHECK(all.run_until([&] { return server.said_quit() == 1; }, 1s));
        all.dissolve();
        CHECK(all.run_until([&] { return server.open_now() == 0; }, 4s));
    }
}

TEST_CASE("a look-up may outlive the call_forward and the resolver that it was asked of") {
    for (const bool of_mx : {true, false}) {
        for (const bool goes_on : {true, false}) {
            CAPTURE(of_mx);
            CAPTURE(goes_on);
            asio::io_context loop(1);
            // Nobody answers there.
            asio::ip::udp::socket taken(loop, {asio::ip::address_v4::loopback(), 0});
            dns::resolver_options options;
            options.servers = {"127.0.0.1:" + std::to_string(taken.local_endpoint().port())};
            options.timeout = 400ms;
            auto resolver = std::make_unique<dns::ares_resolver>(loop.get_executor(), options);
            auto forward =
                std::make_unique<call_forward>(loop.get_executor(), *resolver, reach{}, generous());
            question q = simple_question();
            q.recipient = mailbox::parse("bob@next.test").value();
            if (of_mx) {
                q.to.recipient_mx = true;
            } else {
                set_hop(q, "[mx.next.test]:25");
            }
            end_within(q, 50ms);
            std::optional<verdict> got;
            auto call = forward->verify(std::move(q));
            asio::co_spawn(loop, std::move(call), [&](const std::exception_ptr&, verdict v) {
                got = std::move(v);
            });
            while (!got && loop.run_one_for(1s) > 0) {
            }
            REQUIRE(got);
            CHECK(in_words(got->finding, got->stage) == "undetermined dns_unavailable route");
            forward.reset();
            resolver.reset();
            if (goes_on) loop.run_for(1s);
        }
    }
}

TEST_CASE("hosts that are not needed any more are forgotten") {
    asio::io_context loop(1);
    fake_resolver resolver(loop.get_executor());
    session_limits limits = generous();
    limits.host_penalty = 60s;
    call_forward forward(loop.get_executor(), resolver, reach{}, limits);
    const std::uint16_t closed = local_port(listen_on("127.0.0.2:0"));
    std::size_t most = 0;
    for (int round = 0; round < 30; ++round) {
        int answered = 0;
        for (int i = 0; i < 100; ++i) {
            const std::string name = "mx" + std::to_string(round * 100 + i) + ".test";
            resolver.address(name, {"127.0.0.2"});
            question q = simple_question();
            set_hop(q, '[' + name + "]:" + std::to_string(closed));
            auto call = forward.verify(std::move(q));
            asio::co_spawn(loop, std::move(call), [&](const std::exception_ptr&, const verdict& v) {
                CHECK(v.finding.reason == reason::connect_failed);
                ++answered;
            });
        }
        loop.restart();
        while (answered < 100 && loop.run_one_for(5s) > 0) {
        }
        REQUIRE(answered == 100);
        most = std::max(most, forward.hosts_kept());
    }
    CHECK(most <= 1100);
}
