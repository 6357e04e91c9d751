#include "tests/support/next_hop_session.h"

#include "tests/support/script.h"

#include <doctest/doctest.h>

using namespace callforward::testing;
using what = next_hop_answer::what;

namespace {

std::string problem_of(std::string_view text) {
    try {
        static_cast<void>(smtp_rules::parse(text, "rules"));
    } catch (const script_error& problem) {
        return problem.what();
    }
    return "parsed";
}

}  // namespace

TEST_CASE("a glob takes any run at a star, in any case") {
    CHECK(glob_matches("*", ""));
    CHECK(glob_matches("known@a.test", "Known@A.test"));
    CHECK(glob_matches("*@a.test", "x@a.test"));
    CHECK(glob_matches("a*b*c", "aXbXbc"));
    CHECK_FALSE(glob_matches("*@a.test", "x@b.test"));
    CHECK_FALSE(glob_matches("a", "ab"));
    CHECK_FALSE(glob_matches("", "a"));
}

TEST_CASE("the first rule that matches answers") {
    const auto rules = smtp_rules::parse(
        "# a comment\n"
        "extension PIPELINING\n"
        "extension SIZE 10240000\n"
        "rcpt known@a.test 250 2.1.5 ok\n"
        "rcpt *@drop.test CLOSE\n"
        "rcpt *@stall.test STALL\n"
        "rcpt *@reset.test RESET\n"
        "rcpt *@slow.test DELAY 3000 250 ok\n"
        "rcpt *@raw.test RAW 25\n"
        "rcpt *@two.test 550-5.1.1 one\\r\\n550 5.1.1 two\n"
        "rcpt *@bye.test 421 4.7.0 too much\n"
        "rcpt * 550 5.1.1 <%r>: user of %s unknown, 100%%\n"
        "mail bad@sender.test 550 5.1.8 no such sender\n"
        "mail <> 550 5.7.1 no null sender\n",
        "rules");
    next_hop_session session(false);
    CHECK(session.line(rules, "EHLO me.test").bytes ==
          "250-mx.next.test\r\n250-PIPELINING\r\n250 SIZE 10240000\r\n");
    CHECK(session.line(rules, "MAIL FROM:<bad@sender.test>").bytes ==
          "550 5.1.8 no such sender\r\n");
    CHECK(session.line(rules, "RCPT TO:<known@a.test>").bytes.starts_with("503"));
    CHECK(session.line(rules, "MAIL FROM:<>").bytes == "550 5.7.1 no null sender\r\n");
    const auto mail = session.line(rules, "mail from:<s@b.test> SIZE=100");
    CHECK(mail.bytes == "250 2.1.0 ok\r\n");
    CHECK(mail.event == "mail s@b.test");
    const auto known = session.line(rules, "RCPT TO:<known@a.test>");
    CHECK(known.bytes == "250 2.1.5 ok\r\n");
    CHECK(known.event == "rcpt known@a.test 250");
    CHECK(session.line(rules, "RCPT TO:<x@drop.test>").then == what::close);
    CHECK(session.line(rules, "RCPT TO:<x@stall.test>").then == what::stall);
    CHECK(session.line(rules, "RCPT TO:<x@stall.test>").event == "rcpt x@stall.test STALL");
    CHECK(session.line(rules, "RCPT TO:<x@reset.test>").then == what::reset);
    CHECK(session.line(rules, "RCPT TO:<x@slow.test>").delay == std::chrono::seconds(3));
    CHECK(session.line(rules, "RCPT TO:<x@slow.test>").bytes == "250 ok\r\n");
    CHECK(session.line(rules, "RCPT TO:<x@raw.test>").bytes == "25");
    CHECK(session.line(rules, "RCPT TO:<x@two.test>").bytes ==
          "550-5.1.1 one\r\n550 5.1.1 two\r\n");
    CHECK(session.line(rules, "RCPT TO:<x@bye.test>").then == what::close);
    CHECK(session.line(rules, "RCPT TO:<\"a>b\"@x.test>").bytes ==
          "550 5.1.1 <\"a>b\"@x.test>: user of s@b.test unknown, 100%\r\n");
    CHECK(session.line(rules, "RSET").bytes.starts_with("250"));
    CHECK(session.line(rules, "RCPT TO:<known@a.test>").bytes.starts_with("503"));
    CHECK(session.line(rules, "QUIT").then == what::close);
}

TEST_CASE("greeting, EHLO and STARTTLS follow their rules") {
    const auto rules = smtp_rules::parse(
        "greeting DELAY 5000 554 no\nehlo-reply 500 no\nextension STARTTLS\ncommand XCLIENT* 220 "
        "hi\n",
        "rules");
    next_hop_session session(false);
    CHECK(session.greeting(rules).bytes == "554 no\r\n");
    CHECK(session.greeting(rules).delay == std::chrono::seconds(5));
    CHECK(session.line(rules, "EHLO x").bytes == "500 no\r\n");
    CHECK(session.line(rules, "MAIL FROM:<>").bytes.starts_with("503"));
    CHECK(session.line(rules, "HELO x").bytes == "250 mx.next.test\r\n");
    CHECK(session.line(rules, "MAIL FROM:<>").bytes.starts_with("250"));
    CHECK(session.line(rules, "XCLIENT NAME=x").bytes == "220 hi\r\n");
    CHECK(session.line(rules, "STARTTLS").then == what::start_tls);
    session.tls_started();
    CHECK(session.line(rules, "STARTTLS").bytes.starts_with("502"));
    CHECK(session.line(rules, "MAIL FROM:<>").bytes.starts_with("503"));
    CHECK(next_hop_session(false)
              .line(smtp_rules::parse("", "rules"), "STARTTLS")
              .bytes.starts_with("502"));
}

TEST_CASE("content is refused, or accepted once for each LMTP recipient") {
    const auto rules = smtp_rules::parse("", "rules");
    for (const bool accept : {false, true}) {
        next_hop_session session(accept);
        static_cast<void>(session.line(rules, "LHLO x"));
        static_cast<void>(session.line(rules, "MAIL FROM:<>"));
        CHECK(session.line(rules, "DATA").bytes.starts_with("554"));
        static_cast<void>(session.line(rules, "RCPT TO:<a@x>"));
        static_cast<void>(session.line(rules, "RCPT TO:<b@x>"));
        CHECK(session.line(rules, "DATA").bytes.starts_with("354"));
        CHECK(session.line(rules, "RSET").bytes.empty());
        const auto end = session.line(rules, ".");
        CHECK(end.event == (accept ? "message" : "content"));
        CHECK(end.bytes == (accept ? "250 2.0.0 accepted\r\n250 2.0.0 accepted\r\n"
                                   : "554 5.3.2 this server takes no mail\r\n554 5.3.2 this server "
                                     "takes no mail\r\n"));
    }
}

TEST_CASE("nothing a client sends forges a line of the log") {
    const auto rules = smtp_rules::parse("", "rules");
    next_hop_session session(false);
    CHECK(session.line(rules, "EHLO a\rb").event == "ehlo a\\rb");
    CHECK(session.line(rules, "MAIL FROM:<>").event == "mail <>");
    CHECK(session.line(rules, "\x01").event == "unknown \\x01");
}

TEST_CASE("a rule that is not understood is an error with its line") {
    CHECK(problem_of("rcpt * 250 ok") == "parsed");
    CHECK(problem_of("\nrecipient * 250 ok") == "rules:2: unknown rule recipient");
    CHECK(problem_of("rcpt * maybe").starts_with("rules:1: an answer is"));
    CHECK(problem_of("rcpt *").starts_with("rules:1: an answer is"));
    CHECK(problem_of("rcpt * DELAY x 250 ok") == "rules:1: DELAY needs milliseconds");
    CHECK(problem_of("rcpt * CLOSE now").starts_with("rules:1: nothing may follow"));
    CHECK(problem_of("extension") == "rules:1: an extension needs a name");
}
