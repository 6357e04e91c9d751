// Hosts that accept anything: found out with a random recipient, per host and domain, and never at
// a recipient's cost.
#include "smtpclient/catch_all.h"

#include "tests/smtpclient/caller.h"
#include "tests/smtpclient/crowd.h"
#include "tests/smtpclient/loop_server.h"

#include <doctest/doctest.h>

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

TEST_CASE("a finding ends with its lifetime, and the table is bounded") {
    catch_all_findings findings;
    const steady_time start;
    findings.note("host a.test", true, 10s, start);
    CHECK(findings.find("host a.test", start + 9s) == true);
    CHECK_FALSE(findings.find("host a.test", start + 10s));
    CHECK_FALSE(findings.find("host b.test", start));
    for (int i = 0; i < 30000; ++i) findings.note(std::to_string(i), false, 10s, start);
    CHECK(findings.find("29999", start) == false);
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
