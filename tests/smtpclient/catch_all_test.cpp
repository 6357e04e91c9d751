// Hosts that accept anything: found out with a random recipient, per host and domain, and never at
// a recipient's cost.
#include "smtpclient/catch_all.h"

#include "tests/smtpclient/caller.h"
#include "tests/smtpclient/crowd.h"
#include "tests/smtpclient/loop_server.h"
#include "tests/support/socket.h"

#include <doctest/doctest.h>

#include <optional>

using namespace callforward::smtpclient;
using namespace callforward::testing;
using namespace std::chrono_literals;
using what = loop_server::session::what;

namespace {

bool is_test(const std::string& command) {
    return command.starts_with("RCPT TO:<cf-");
}

question tested(const loop_server& server, const std::string& local_part) {
    question q = question_for(server.hop(), local_part);
    change(q, [](transport& by) { by.catch_all_probe = true; });
    return q;
}

}  // namespace

TEST_CASE(
    "a host that accepts anything is found out once, and its recipients are accepted unasked") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, [](auto& s, const std::string& command) {
        return command.starts_with("RCPT") ? "250 2.1.5 ok\r\n" : pipelining(s, command);
    });
    CHECK(all.words_of(tested(server, "a")) == "deliverable catch_all rcpt");
    CHECK(all.words_of(tested(server, "b")) == "deliverable catch_all rcpt");
    CHECK(server.recipients() == 1);
    CHECK(server.sessions().size() == 1);
}

TEST_CASE("a host that knows its recipients is asked for each, in the session of the test") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, pipelining);
    CHECK(all.words_of(tested(server, "known1")) == "deliverable accepted rcpt");
    CHECK(all.words_of(tested(server, "nobody")) == "undeliverable unknown_user rcpt");
    CHECK(server.recipients() == 3);
    CHECK(server.sessions().size() == 1);
}

TEST_CASE("a test that is deferred or broken off says nothing about anybody") {
    for (const bool breaks : {false, true}) {
        CAPTURE(breaks);
        crowd all(kept_sessions());
        const loop_server server(all.loop, [&](auto& s, const std::string& command) -> std::string {
            if (!is_test(command)) return pipelining(s, command);
            if (breaks) s.then = what::close;
            return breaks ? "" : "450 4.2.0 later\r\n";
        });
        CHECK(all.words_of(tested(server, "known1")) == "deliverable accepted rcpt");
        CHECK(all.words_of(tested(server, "nobody")) == "undeliverable unknown_user rcpt");
    }
}

TEST_CASE("nobody asks with a random recipient where it was not asked for") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, pipelining);
    CHECK(all.words_of(question_for(server.hop(), "known1")) == "deliverable accepted rcpt");
    CHECK(server.recipients() == 1);
}

TEST_CASE("what comes of a finding says so, and how long it holds") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, [](auto& s, const std::string& command) {
        return command.starts_with("RCPT") ? "250 2.1.5 ok\r\n" : pipelining(s, command);
    });
    const auto& first = all.ask(tested(server, "a"));
    all.run();
    const auto& second = all.ask(tested(server, "b"));
    all.run();
    REQUIRE(first.told);
    REQUIRE(second.told);
    CHECK_FALSE(first.told->found_before);
    REQUIRE(second.told->found_before);
    CHECK(*second.told->found_before < session_limits{}.catch_all);
    CHECK(*second.told->found_before > session_limits{}.catch_all - 1min);
}

TEST_CASE("a finding is forgotten with its domain, and with all") {
    crowd all(kept_sessions());
    bool accepts_any = true;
    const loop_server server(all.loop, [&](auto& s, const std::string& command) {
        const bool answers = accepts_any && command.starts_with("RCPT");
        return answers ? "250 2.1.5 ok\r\n" : pipelining(s, command);
    });
    for (const std::string domain : {"next.test", ""}) {
        CAPTURE(domain);
        accepts_any = true;
        all.forward().forget("");
        CHECK(all.words_of(tested(server, "nobody")) == "deliverable catch_all rcpt");
        accepts_any = false;
        all.forward().forget("test");
        all.forward().forget("other.test");
        CHECK(all.words_of(tested(server, "nobody")) == "deliverable catch_all rcpt");
        all.forward().forget(domain);
        CHECK(all.words_of(tested(server, "nobody")) == "undeliverable unknown_user rcpt");
    }
}

TEST_CASE("what a test under way finds out is not kept past a forgetting") {
    crowd all(kept_sessions());
    bool forgets = true;
    const loop_server server(all.loop, [&](auto& s, const std::string& command) -> std::string {
        if (!command.starts_with("RCPT")) return pipelining(s, command);
        if (forgets) all.forward().forget("next.test");
        return "250 2.1.5 ok\r\n";
    });
    CHECK(all.words_of(tested(server, "a")) == "deliverable catch_all rcpt");
    forgets = false;
    CHECK(all.words_of(tested(server, "a")) == "deliverable catch_all rcpt");
    CHECK(server.recipients() == 2);
}

TEST_CASE("a host that the test cannot be asked of is not tried again by its recipient") {
    for (const bool out_of_reach : {true, false}) {  // or nobody answers EHLO
        CAPTURE(out_of_reach);
        session_limits limits = kept_sessions();
        limits.host_penalty = 60s;
        crowd all(limits);
        const loop_server second(all.loop, pipelining, {}, "127.0.0.3");
        const auto port = second.port();
        const auto ehlo_unheard = [](auto& s, const std::string& command) {
            return command.starts_with("EHLO") ? std::string() : pipelining(s, command);
        };
        std::optional<loop_server> first;
        if (!out_of_reach) first.emplace(all.loop, ehlo_unheard, 0ms, "127.0.0.2", port);
        all.resolver.mx("next.test", {{10, "mx1.next.test"}, {20, "mx2.next.test"}});
        all.resolver.address("mx1.next.test", {"127.0.0.2"});
        all.resolver.address("mx2.next.test", {"127.0.0.3"});
        // The first brings the test, the others wait for it.
        for (const std::string who : {"known1", "known2", "unknown3"}) {
            question q = question_to_mx(port, who + "@next.test");
            change(q, [](transport& by) {
                by.catch_all_probe = true;
                by.reply_timeout = 2s;
            });
            all.ask(std::move(q));
        }
        all.run();
        CHECK(all.wrong() == 0);
        if (first) CHECK(first->sessions().size() == 1);
    }
}

TEST_CASE("of a host that cannot be reached a test's failure tells why") {
    session_limits limits = kept_sessions();
    limits.host_penalty = 60s;
    crowd all(limits);
    question q =
        question_for("127.0.0.2:" + std::to_string(local_port(listen_on("127.0.0.2:0"))), "known1");
    change(q, [](transport& by) { by.catch_all_probe = true; });
    CHECK(all.words_of(q) == "undetermined connect_failed connect");
    CHECK(all.words_of(q) == "undetermined host_penalty connect");
}

TEST_CASE("recipients that come at once bring one test, and wait for it") {
    for (const bool accepts_any : {true, false}) {
        CAPTURE(accepts_any);
        crowd all(kept_sessions());
        std::size_t tests = 0;
        const loop_server server(all.loop, [&](auto& s, const std::string& command) {
            if (is_test(command)) ++tests;
            const bool answers = accepts_any && command.starts_with("RCPT");
            return answers ? "250 2.1.5 ok\r\n" : pipelining(s, command);
        });
        for (int i = 0; i < 20; ++i) all.ask(tested(server, "known" + std::to_string(i)));
        all.run();
        CHECK(tests == 1);
        if (accepts_any) {
            CHECK(server.recipients() == 1);
            for (const auto& a : all.askers()) CHECK(a.words() == "deliverable catch_all rcpt");
        } else {
            CHECK(all.wrong() == 0);
        }
    }
}

TEST_CASE("each waits for another's test until its own deadline, and not for the other's") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, [](auto& s, const std::string& command) {
        if (is_test(command)) s.work = 3s;
        return pipelining(s, command);
    });
    question brief = tested(server, "known1");
    end_within(brief, 1s);
    const auto& first = all.ask(brief);
    const auto& second = all.ask(tested(server, "known2"));
    brief.recipient = mailbox::parse("known3@next.test").value();
    const auto& third = all.ask(brief);
    CHECK(all.run_until([&] { return first.told && third.told; }));
    REQUIRE(first.told);
    REQUIRE(third.told);
    CHECK(first.told->finding.reason == reason::timed_out);
    CHECK(third.told->finding.reason == reason::timed_out);
    all.run();
    CHECK(second.is_right());
}

TEST_CASE("a finding ends with its lifetime, and the table is bounded") {
    catch_all_findings findings;
    const steady_time start;
    findings.note("host a.test", true, 10s, start);
    REQUIRE(findings.find("host a.test", start + 9s));
    CHECK(findings.find("host a.test", start + 9s)->accepts_any);
    CHECK_FALSE(findings.find("host a.test", start + 10s));
    CHECK_FALSE(findings.find("host b.test", start));
    for (int i = 0; i < 30000; ++i) findings.note(std::to_string(i), false, 10s, start);
    REQUIRE(findings.find("29999", start));
    CHECK_FALSE(findings.find("29999", start)->accepts_any);
    CHECK_FALSE(findings.find("0", start));
}

TEST_CASE("random recipients are of the domain asked about, plain, and never the same") {
    const auto like = mailbox::parse("bob@next.test").value();
    const mailbox one = random_recipient(like);
    const mailbox other = random_recipient(like);
    CHECK(one.domain_part() == "next.test");
    CHECK(one.local_part().size() > 20);
    CHECK_FALSE(one == other);
}
