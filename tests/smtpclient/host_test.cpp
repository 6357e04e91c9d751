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
    limits.idle_session = 20s;
    limits.recipients_refused_per_session = 0;
    return limits;
}

question question_for_mx(std::uint16_t port,
                         const std::string& local_part,
                         const std::string& domain = "next.test") {
    return question_to_mx(port, local_part + '@' + domain);
}

}  // namespace

TEST_CASE("who would need a connection more than there may be is put off at once") {
    session_limits limits = generous();
    limits.connections = 2;
    crowd all(limits);
    const loop_server first(all.loop, pipelining, 200ms);
    const loop_server second(all.loop, pipelining, 200ms);
    const loop_server third(all.loop, pipelining);
    auto& one = all.ask(first.hop(), "known1");
    // One that is open, and waits for its greeting, is one and not two.
    CHECK(all.run_until([&] { return first.sessions().size() == 1; }));
    all.run_for(20ms);
    auto& two = all.ask(second.hop(), "known2");
    CHECK(all.run_until([&] { return second.sessions().size() == 1; }));
    auto& three = all.ask(third.hop(), "known3");
    all.run();
    CHECK(one.is_right());
    CHECK(two.is_right());
    CHECK(three.words() == "undetermined overloaded route");
    CHECK(three.told->port == third.port());
    CHECK(third.sessions().empty());
}

TEST_CASE("replies that are apart because the questions were do not make a host slow") {
    session_limits limits = generous();
    limits.connections_per_host = 1;
    limits.recipients_per_session = 0;
    crowd all(limits);
    const loop_server server(all.loop, pipelining, 200ms);
    const auto answered = [&] {
        return std::count_if(
            all.askers().begin(), all.askers().end(), [](const auto& a) { return a.told; });
    };
    constexpr std::ptrdiff_t side_by_side = 20;
    constexpr std::ptrdiff_t spread = 100;
    for (std::ptrdiff_t i = 0; i < spread; ++i) {
        CHECK(all.run_until([&] { return answered() + side_by_side > i; }));
        all.ask(server.hop(), "known" + std::to_string(i));
        all.run_for(5ms);
    }
    all.run();
    // Of many at once all but a few go out before the first of them is answered.
    constexpr std::size_t burst = 60;
    for (std::size_t i = 0; i < burst; ++i) all.ask(server.hop(), "known.b" + std::to_string(i));
    CHECK(all.run_until([&] { return answered() > spread; }));
    CHECK(server.recipients() >= spread + burst / 2);
    all.run();
    CHECK(all.wrong() == 0);
}

TEST_CASE("200 at once take a few round trips where PIPELINING is offered") {
    crowd all(generous());
    const loop_server server(all.loop, pipelining, 100ms);
    for (std::size_t i = 0; i < 200; ++i) all.ask(server.hop(), mixed(i));
    all.run();
    CHECK(all.wrong() == 0);
    CHECK(server.recipients() >= 200);
    CHECK(server.recipients() <= 400);  // a stalled machine looks like a slow answer: asked again
    CHECK(server.most_open() <= 20);
    std::size_t most = 0;
    for (const auto& s : server.sessions()) most = std::max(most, s->turns);
    MESSAGE("200 with 100 ms: " << longest(all).count() << " ms, " << server.sessions().size()
                                << " sessions, " << most << " round trips");
    // One after the other it would be 10 for each session, of two or three round trips each.
    CHECK(most <= 12);
}

TEST_CASE("a burst at a host that is new takes few round trips more than one that is known") {
    crowd all(generous());
    const loop_server server(all.loop, pipelining, 50ms);
    for (std::size_t i = 0; i < 50; ++i) all.ask(server.hop(), mixed(i));
    all.run();
    CHECK(all.wrong() == 0);
    CHECK(server.sessions().size() >= 4);
    std::size_t most = 0;
    for (const auto& s : server.sessions()) most = std::max(most, s->turns);
    MESSAGE("50 with 50 ms: " << longest(all).count() << " ms, " << server.sessions().size()
                              << " sessions, " << most << " round trips");
    CHECK(most <= 7);
}

TEST_CASE("of unknown recipients a session gets not many more than it may have refused") {
    session_limits limits = generous();
    limits.recipients_refused_per_session = 8;
    crowd all(limits);
    const loop_server server(all.loop, pipelining, 20ms);
    for (std::size_t i = 0; i < 100; ++i) all.ask(server.hop(), "known" + std::to_string(i));
    all.run();
    // The first of them come as a surprise.
    for (std::size_t i = 0; i < 200; ++i) all.ask(server.hop(), "unknown" + std::to_string(i));
    all.run();
    const std::size_t before = server.sessions().size();
    for (std::size_t i = 200; i < 600; ++i) all.ask(server.hop(), "unknown" + std::to_string(i));
    all.run();
    CHECK(all.wrong() == 0);
    CHECK(server.most_open() <= 20);
    std::size_t most = 0;
    for (const auto& s : server.sessions()) {
        if (s->number > before) most = std::max(most, s->recipients);
    }
    CHECK(most >= 8);
    CHECK(most <= 12);
}

namespace {

// Shared with nobody, and as slow as a store that is asked over a network.
class one_connection final : public allowance {
public:
    explicit one_connection(asio::io_context& loop) : loop_(loop) {}
    asio::awaitable<std::shared_ptr<void>> take(std::string /*host*/) override {
        asio::steady_timer timer(loop_, 20ms);
        co_await timer.async_wait(asio::use_awaitable);
        if (!held_.expired()) co_return nullptr;
        const std::shared_ptr<void> leave = std::make_shared<char>();
        held_ = leave;
        co_return leave;
    }

private:
    asio::io_context& loop_;
    std::weak_ptr<void> held_;
};

}  // namespace

namespace {

// So many, and then none: others have them.
class few_connections final : public allowance {
public:
    explicit few_connections(std::size_t left) : left_(left) {}
    asio::awaitable<std::shared_ptr<void>> take(std::string /*host*/) override {
        if (left_ == 0) co_return nullptr;
        --left_;
        co_return std::make_shared<char>();
    }

private:
    std::size_t left_;
};

}  // namespace

TEST_CASE("a session that is over leaves the only connection to the next one") {
    session_limits limits = brief_sessions();
    limits.recipients_per_session = 4;
    crowd all(limits);
    all.forward().share(std::make_shared<one_connection>(all.loop));
    const loop_server server(all.loop, pipelining);
    for (int i = 0; i < 16; ++i) all.ask(server.hop(), "known" + std::to_string(i));
    all.run();
    CHECK(all.wrong() == 0);
    CHECK(server.sessions().size() == 4);
}

TEST_CASE("who waits in vain for leave to connect is told so, and not that DNS is away") {
    crowd all(generous());
    all.forward().share(std::make_shared<few_connections>(0));
    const loop_server server(all.loop, pipelining);
    question q = question_for(server.hop(), "known1");
    end_within(q, 200ms);
    const auto& one = all.ask(std::move(q));
    all.run();
    CHECK(one.words() == "undetermined overloaded route");
    CHECK(one.told->detail == "no leave yet for a connection");
    CHECK(one.told->port == server.port());
    CHECK(server.sessions().empty());
}

TEST_CASE("what the only connection has failed at is told also while others wait for leave") {
    crowd all(generous());
    all.forward().share(std::make_shared<few_connections>(1));
    const loop_server server(all.loop, [](auto& s, const std::string&) {
        s.then = what::close;
        return std::string("554 5.7.1 no\r\n");
    });
    for (std::size_t i = 0; i < 20; ++i) all.ask(server.hop(), mixed(i));
    const auto all_told = [&] {
        return std::all_of(
            all.askers().begin(), all.askers().end(), [](const auto& a) { return a.told; });
    };
    CHECK(all.run_until(all_told));
    for (const auto& a : all.askers()) CHECK(a.words() == "undetermined client_refused greeting");
}

TEST_CASE("who is saying goodbye still counts for connections_per_host") {
    session_limits limits = generous();
    limits.connections_per_host = 3;
    limits.recipients_per_session = 5;
    crowd all(limits);
    const loop_server server(all.loop, pipelining, 20ms);
    for (std::size_t i = 0; i < 100; ++i) all.ask(server.hop(), mixed(i));
    all.run();
    CHECK(all.wrong() == 0);
    CHECK(server.recipients() >= 100);
    CHECK(server.recipients() <= 200);  // more than 100 where the machine stalls
    CHECK(server.sessions().size() >= 20);
    CHECK(server.most_open() <= 3);
}

TEST_CASE("a session near its end has a successor before it ends") {
    session_limits limits = generous();
    limits.recipients_per_session = 8;
    crowd all(limits);
    const loop_server server(all.loop, pipelining, 20ms);
    for (std::size_t i = 0; i < 5; ++i) {
        all.ask(server.hop(), mixed(i));
        all.run();
    }
    CHECK(server.sessions().size() == 1);
    all.ask(server.hop(), mixed(5));
    CHECK(all.run_until([&] { return server.sessions().size() == 2; }));
    for (std::size_t i = 6; i < 10; ++i) {
        all.ask(server.hop(), mixed(i));
        all.run();
    }
    CHECK(all.wrong() == 0);
    CHECK(server.sessions().size() == 2);
    CHECK(server.sessions().front()->recipients == 8);
}

TEST_CASE("the more are in flight, the sooner a session has a successor") {
    crowd all(generous());
    const loop_server server(all.loop, pipelining, 200ms);
    all.ask(server.hop(), "known0");
    all.run();
    for (std::size_t i = 1; i < 8; ++i) all.ask(server.hop(), mixed(i));
    all.run();
    CHECK(server.sessions().size() == 1);
    // By when another one is open, 40 at once will have used up this one.
    for (std::size_t i = 8; i < 48; ++i) all.ask(server.hop(), mixed(i));
    CHECK(all.run_until([&] { return server.sessions().size() == 2; }));
    all.run();
    CHECK(all.wrong() == 0);
}

namespace {

// Whether the fuller of two sessions takes all that comes, and the other none of it.
bool fills_the_fuller_first() {
    session_limits limits = generous();
    limits.connections_per_host = 2;
    limits.recipients_per_session = 20;
    crowd all(limits);
    const loop_server server(all.loop, pipelining, 200ms);
    std::size_t asked = 0;
    const auto ask = [&](std::size_t many) {
        for (; many > 0; --many) all.ask(server.hop(), "known" + std::to_string(asked++));
        all.run();
    };
    const auto used = [&] {
        const auto& sessions = server.sessions();
        return sessions.size() == 2
                   ? std::minmax({sessions[0]->recipients, sessions[1]->recipients})
                   : std::pair<std::size_t, std::size_t>{};
    };
    ask(16);
    ask(4);
    const auto [less_before, more_before] = used();
    ask(8);
    const auto [less, more] = used();
    CHECK(all.wrong() == 0);
    return more_before >= 10 && less == less_before && more == more_before + 8;
}

}  // namespace

TEST_CASE("sessions that can have no successor do not all end at once") {
    // After a stall of the machine others are asked in the place of who seems to be slow.
    CHECK((fills_the_fuller_first() || fills_the_fuller_first() || fills_the_fuller_first()));
}

TEST_CASE("sessions grow in number while others of them end") {
    session_limits limits = generous();
    limits.connections_per_host = 12;
    limits.recipients_per_session = 3;
    crowd all(limits);
    const loop_server server(all.loop, one_by_one, 10ms);
    for (std::size_t i = 0; i < 300; ++i) all.ask(server.hop(), mixed(i));
    all.run();
    CHECK(all.wrong() == 0);
    CHECK(server.most_open() == 12);
}

TEST_CASE("without PIPELINING sessions grow from four to connections_per_host") {
    session_limits limits = generous();
    limits.connections_per_host = 10;
    crowd all(limits);
    const loop_server server(all.loop, one_by_one, 10ms);
    for (std::size_t i = 0; i < 200; ++i) all.ask(server.hop(), mixed(i));
    CHECK(all.run_until([&] { return server.most_open() == 4; }));
    all.run();
    CHECK(all.wrong() == 0);
    CHECK(server.most_open() == 10);
    CHECK(server.recipients() == 200);
}

TEST_CASE("one slow recipient does not hold up the others of its session") {
    for (int round = 0; round < 2; ++round) {
        crowd all(generous());
        const loop_server server(
            all.loop,
            [](auto& s, const std::string& c) {
                if (is_for(c, "known0")) s.work = 5min;
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
        CHECK(all.run_until(others, 20s));
        CHECK_FALSE(slow.told);
        CHECK(std::all_of(all.askers().begin(), all.askers().end(), [&](const auto& a) {
            return &a == &slow || a.is_right();
        }));
    }
}

TEST_CASE("one slow recipient at a host that is new does not hold up the next one") {
    crowd all(generous());
    const loop_server server(all.loop, [](auto& s, const std::string& c) {
        if (is_for(c, "known0")) s.work = 5min;
        return pipelining(s, c);
    });
    const auto& slow = all.ask(server.hop(), "known0");
    const auto& next = all.ask(server.hop(), "known1");
    CHECK(all.run_until([&] { return next.told.has_value(); }, 20s));
    CHECK(next.is_right());
    CHECK_FALSE(slow.told);
    CHECK(server.sessions().size() == 2);
}

TEST_CASE("a slow recipient does not make the next one go unnoticed") {
    crowd all(generous());
    const loop_server server(all.loop, [](auto& s, const std::string& c) {
        if (c.find("slow1") != std::string::npos) s.work = 1000ms;
        if (c.find("slow2") != std::string::npos) s.work = 5min;
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
        20s));
    CHECK_FALSE(slow.told);
    CHECK(all.wrong() == 1);
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
    std::size_t most = 0;
    for (const auto& s : server.sessions()) most = std::max(most, s->recipients);
    MESSAGE("200 of 30 ms each: " << longest(all).count() << " ms, " << server.most_open()
                                  << " sessions, at most " << most << " in one");
    // 200 / 20 sessions is 10.
    CHECK(most <= 30);
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
    limits.host_penalty = 1s;
    crowd all(limits);
    std::size_t connections = 0;
    bool alive = false;
    std::string refusal;
    loop_server server(all.loop, [&](auto& s, const std::string& c) {
        if (c.empty()) ++connections;
        if (alive) return pipelining(s, c);
        s.then = what::close;
        s.work = 30ms;
        return refusal;
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
    }
    CHECK(connections == first);
    all.run_for(1s);
    for (int i = 20; i < 30; ++i) all.ask(server.hop(), "known" + std::to_string(i));
    all.run();
    CHECK(connections == first + 1);
    CHECK(all.askers()[20].words() == "undetermined disconnected greeting");
    CHECK(all.askers()[21].words() == "undetermined host_penalty connect");
    all.run_for(1010ms);
    // Who refuses everybody is there again.
    refusal = "554 5.7.1 no\r\n";
    all.ask(server.hop(), "known30");
    all.run();
    for (int i = 31; i < 33; ++i) all.ask(server.hop(), "known" + std::to_string(i));
    all.run();
    for (std::size_t i = 30; i < 33; ++i) {
        CHECK(all.askers()[i].words() == "undetermined client_refused greeting");
    }
    alive = true;
    all.ask(server.hop(), "known33");
    all.run();
    for (int i = 34; i < 43; ++i) all.ask(server.hop(), "known" + std::to_string(i));
    all.run();
    for (std::size_t i = 33; i < 43; ++i) CHECK(all.askers()[i].is_right());
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
    limits.host_penalty = 60s;
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
    }
    CHECK(tried == 1);
    CHECK(second.sessions().size() == 1);
}

TEST_CASE("a first MX host that hangs is given up while more questions come") {
    for (const std::string behind : {"", "EHLO"}) {  // or at the greeting
        CAPTURE(behind);
        session_limits limits = generous();
        limits.host_penalty = 60s;
        crowd all(limits);
        const loop_server second(all.loop, pipelining, {}, "127.0.0.3");
        const loop_server first(
            all.loop,
            [&](auto& s, const std::string& c) {
                return c.starts_with(behind) ? std::string() : pipelining(s, c);
            },
            {},
            "127.0.0.2",
            second.port());
        all.resolver.mx("next.test", {{10, "mx1.next.test"}, {20, "mx2.next.test"}});
        all.resolver.address("mx1.next.test", {"127.0.0.2"});
        all.resolver.address("mx2.next.test", {"127.0.0.3"});
        const auto ask = [&](std::size_t i) -> crowd::asker& {
            question q = question_for_mx(second.port(), mixed(i));
            change(q, [](transport& by) { by.reply_timeout = 2s; });
            return all.ask(std::move(q));
        };
        const auto& one = ask(0);
        std::size_t asked = 1;
        for (; asked < 200 && !one.told; ++asked) {
            ask(asked);
            all.run_for(50ms);
        }
        CHECK(one.is_right());
        all.run();
        const std::size_t tried = first.sessions().size();
        const auto& last = ask(asked);
        all.run();
        CHECK(last.is_right());
        if (behind.empty()) CHECK(first.sessions().size() == tried);  // it is left alone
    }
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
            CHECK(all.run_until([&] { return server.open_now() == 0; }));
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
        change(q, [&](transport& by) {
            by.timeout = silent ? 500ms : 30s;
            by.reply_timeout = silent ? 300ms : 30s;
        });
        all.ask(std::move(q));
        all.run();
        if (!silent) CHECK(all.run_until([&] { return server.said_quit() == 1; }));
        all.dissolve();
        CHECK(all.run_until([&] { return server.open_now() == 0; }));
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
            options.timeout = 600ms;
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
            end_within(q, 200ms);
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
