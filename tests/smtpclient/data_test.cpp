// probe_until = "data": what is said after the reply to DATA, and what hosts that refuse only there
// are known for.
#include "tests/smtpclient/caller.h"
#include "tests/smtpclient/crowd.h"
#include "tests/smtpclient/loop_server.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace callforward::smtpclient;
using namespace callforward::testing;
using namespace std::chrono_literals;

namespace {

question until_data(const loop_server& server, const std::string& local_part) {
    question q = question_for(server.hop(), local_part);
    change(q, [](transport& by) { by.probe_until = probe_end::data; });
    return q;
}

// Takes every RCPT, and knows at DATA only that none but those that begin with "known" exist.
std::string late_with(const std::string& offer,
                      loop_server::session& s,
                      const std::string& command) {
    if (command.starts_with("EHLO")) return offer;
    if (command.starts_with("RCPT")) return "250 2.1.5 ok\r\n";
    if (command != "DATA") return one_by_one(s, command);
    const auto last = std::find_if(s.commands.rbegin(), s.commands.rend(), [](const auto& c) {
        return c.starts_with("RCPT");
    });
    const bool known = last->starts_with("RCPT TO:<known");
    return known ? "354 go ahead\r\n" : "550 5.1.1 no such user\r\n";
}

std::string late(loop_server::session& s, const std::string& command) {
    return late_with("250 mx.next.test\r\n", s, command);
}

std::string late_pipelining(loop_server::session& s, const std::string& command) {
    return late_with("250-mx.next.test\r\n250 PIPELINING\r\n", s, command);
}

std::string told(crowd& all, const question& q) {
    auto& asker = all.ask(q);
    all.run();
    return asker.words();
}

}  // namespace

TEST_CASE("after 354 the connection is dropped, and not a byte more is sent") {
    for (auto* const manner : {late, late_pipelining}) {
        crowd all(kept_sessions());
        const loop_server server(all.loop, manner);
        CHECK(told(all, until_data(server, "known1")) == "deliverable accepted data");
        CHECK(all.run_until([&] { return server.open_now() == 0; }, 10s));
        const auto& session = *server.sessions().front();
        CHECK(session.commands.back() == "DATA");
        CHECK(session.count("DATA") == 1);
        CHECK(session.count("QUIT") == 0);
        CHECK(session.count("RSET") == 0);
    }
}

TEST_CASE("after a refusal at DATA the session goes on with the next recipient") {
    for (auto* const manner : {late, late_pipelining}) {
        crowd all(kept_sessions());
        const loop_server server(all.loop, manner);
        CHECK(told(all, until_data(server, "nobody")) == "undeliverable unknown_user data");
        CHECK(told(all, until_data(server, "noone")) == "undeliverable unknown_user data");
        CHECK(told(all, until_data(server, "known1")) == "deliverable accepted data");
        CHECK(server.sessions().size() == 1);
        CHECK(server.sessions().front()->count("RSET") == 2);
    }
}

TEST_CASE("a recipient that is asked for as far as DATA shares its session with nobody") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, late_pipelining, 5ms);
    for (int i = 0; i < 40; ++i) {
        static_cast<void>(
            all.ask(until_data(server, (i % 2 == 0 ? "known" : "nobody") + std::to_string(i))));
    }
    all.run();
    for (const auto& asker : all.askers()) {
        const bool known = asker.recipient.starts_with("known");
        CHECK(asker.words() ==
              (known ? "deliverable accepted data" : "undeliverable unknown_user data"));
    }
    for (const auto& session : server.sessions()) {
        // No two recipients in one transaction.
        std::size_t since_reset = 0;
        for (const auto& command : session->commands) {
            if (command == "RSET") since_reset = 0;
            if (command.starts_with("RCPT")) CHECK(++since_reset == 1);
        }
    }
}

TEST_CASE("who asks as far as RCPT never says DATA") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, late);
    CHECK(told(all, question_for(server.hop(), "nobody")) == "deliverable accepted rcpt");
    CHECK(server.sessions().front()->count("DATA") == 0);
}

TEST_CASE(
    "a random recipient that is refused at DATA tells that the host does not accept anything") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, late);
    const auto tested = [&](const std::string& local_part) {
        question q = until_data(server, local_part);
        change(q, [](transport& by) { by.catch_all_probe = true; });
        return q;
    };
    CHECK(told(all, tested("nobody")) == "undeliverable unknown_user data");
    CHECK(told(all, tested("known1")) == "deliverable accepted data");
    CHECK(server.recipients() == 3);
}

TEST_CASE("a host that refuses at DATA is told of once, with the setting that finds it out") {
    std::vector<std::string> advice;
    crowd all(kept_sessions());
    all.forward().tell_of_late_rejecters([&](const std::string& host, const std::string& what) {
        advice.push_back(host + ' ' + what);
    });
    const loop_server server(all.loop, late);
    CHECK(told(all, question_for(server.hop(), "nobody")) == "deliverable accepted rcpt");
    CHECK_FALSE(all.forward().rejects_late("127.0.0.1", server.port()));
    for (const char* const name : {"nobody", "noone", "known1"}) {
        static_cast<void>(told(all, until_data(server, name)));
    }
    CHECK(all.forward().rejects_late("127.0.0.1", server.port()));
    CHECK_FALSE(all.forward().rejects_late("127.0.0.1", 25));
    REQUIRE(advice.size() == 1);
    CHECK(advice.front().starts_with("127.0.0.1 "));
    CHECK(advice.front().find("probe_until = \"data\"") != std::string::npos);
}

TEST_CASE("a refusal at DATA that is not about the recipient makes no late rejecter") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, [](auto& s, const std::string& command) -> std::string {
        if (command == "DATA") return "554 5.7.1 no\r\n";
        return late(s, command);
    });
    CHECK(told(all, until_data(server, "known1")) == "undetermined policy data");
    CHECK_FALSE(all.forward().rejects_late("127.0.0.1", server.port()));
}
