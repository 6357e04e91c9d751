#include "tests/support/mta.h"

#include "tests/support/process.h"
#include "tests/support/smtp_session.h"
#include "tests/support/temporary_folder.h"

#include <doctest/doctest.h>
#include <libmilter/mfdef.h>

#include <thread>

using namespace callforward::testing;
using namespace std::chrono_literals;

namespace {

// A real libmilter filter in its own process.
class filter {
public:
    explicit filter(const std::vector<std::string>& modes = {}) {
        std::vector<std::string> arguments{CALLFORWARD_TRACE_FILTER, "unix:" + folder_.file("m")};
        arguments.insert(arguments.end(), modes.begin(), modes.end());
        process_.emplace(arguments);
        REQUIRE(process_->wait_for("ready"));
    }
    mta connected(mta_kind kind) const {
        mta made(kind);
        made.connect("unix:" + folder_.file("m"));
        made.negotiate();
        return made;
    }
    std::string saw(std::string_view text) const {
        return process_->wait_for(text).value_or("(nothing)");
    }
    process& program() { return *process_; }

private:
    temporary_folder folder_;
    std::optional<process> process_;
};

smtp_session to(const std::string& local) {
    smtp_session session;
    session.rcpt = "<" + local + "@a.test>";
    session.rcpt_host = "[127.0.0.1]:2525";
    session.rcpt_addr = local + "@a.test";
    return session;
}

}  // namespace

TEST_CASE("both MTAs offer what the real ones offer, and the filter's wishes are recorded") {
    const filter f({"symbols"});
    for (const auto kind : {mta_kind::postfix, mta_kind::sendmail}) {
        const auto m = f.connected(kind);
        CHECK(m.negotiated().version == 6);
        CHECK(m.negotiated().actions == 0x100);
        CHECK((m.negotiated().protocol & (SMFIP_NOBODY | SMFIP_NOHDRS)) ==
              (SMFIP_NOBODY | SMFIP_NOHDRS));
        CHECK(m.negotiated().symbols.at(milter_stage::rcpt) ==
              std::vector<std::string>{"{client_addr}", "{rcpt_addr}", "v"});
    }
    CHECK(f.saw("actions=") == "actions=0x1ff proto=0x1fffff");
}

TEST_CASE("libmilter sees client, sender, recipient and macros as Postfix gives them") {
    const filter f;
    auto m = f.connected(mta_kind::postfix);
    auto session = to("User");
    session.mail = "<Sender@Example.org>";
    session.mail_parameters = {"SIZE=1234"};
    session.rcpt_parameters = {"NOTIFY=NEVER"};
    const auto reply = play(m, session);
    CHECK(reply.action == 'c');
    CHECK(reply.stage == milter_stage::rcpt);
    CHECK(f.saw("connect ") == "connect client.example address v=Postfix 3.7.11 j=mx.test");
    CHECK(f.saw("helo ") == "helo client.example");
    CHECK(f.saw("mail ") ==
          "mail <Sender@Example.org> SIZE=1234 {mail_addr}=sender@example.org i=(none)");
    CHECK(f.saw("rcpt ") ==
          "rcpt <User@a.test> NOTIFY=NEVER {rcpt_mailer}=smtp {rcpt_host}=[127.0.0.1]:2525 "
          "{rcpt_addr}=User@a.test {client_addr}=(none) v=Postfix 3.7.11");
    m.abort();
    CHECK(f.saw("abort") == "abort");
    CHECK(m.mail({"<>"}).action == 'c');
    CHECK(m.rcpt({"<x@a.test>"}).action == 'c');
    CHECK(m.end_of_message().action == 'c');
    CHECK(f.saw("end of message") == "end of message");
    m.quit();
    CHECK(f.saw("close") == "close");
}

TEST_CASE("Sendmail gives its own macros") {
    const filter f;
    auto m = f.connected(mta_kind::sendmail);
    auto session = to("x");
    session.client_address = "IPv6:::1";
    session.rcpt_mailer = "esmtp";
    CHECK(play(m, session).action == 'c');
    CHECK(f.saw("connect ") == "connect client.example address v=(none) j=mx.test");
    CHECK(f.saw("mail ") ==
          "mail <sender@example.org> {mail_addr}=sender@example.org i=4XyZ0a1b2c");
    CHECK(f.saw("rcpt ").find("{rcpt_mailer}=esmtp") != std::string::npos);
}

TEST_CASE("macros the filter asked for replace the default ones") {
    const filter f({"symbols"});
    auto m = f.connected(mta_kind::sendmail);
    auto session = to("x");
    session.client_address = "IPv6:::1";
    CHECK(play(m, session).action == 'c');
    CHECK(f.saw("rcpt ") ==
          "rcpt <x@a.test> {rcpt_mailer}=(none) {rcpt_host}=(none) {rcpt_addr}=x@a.test "
          "{client_addr}=IPv6:0:0:0:0:0:0:0:1 v=8.17.1.9");
}

TEST_CASE("each of the filter's answers arrives as the protocol has it") {
    const filter f;
    auto m = f.connected(mta_kind::postfix);
    CHECK(play(m, to("reject")).action == 'r');
    CHECK(play_rcpt(m, to("tempfail")).action == 't');
    const auto reply = play_rcpt(m, to("reply"));
    CHECK(reply.action == 'y');
    CHECK(reply.text == "550 5.1.1 no such user");
    CHECK(play_rcpt(m, to("lines")).text == "550-5.1.1 line one\r\n550 5.1.1 line two");
    const auto slow = play_rcpt(m, to("progress"));
    CHECK(slow.action == 'c');
    CHECK(slow.progress == 2);
}

TEST_CASE("after accept the MTA asks no more in this transaction") {
    const filter f;
    auto m = f.connected(mta_kind::postfix);
    CHECK(play(m, to("accept")).action == 'a');
    const auto hidden = play_rcpt(m, to("reject"));
    CHECK(hidden.action == 'a');
    CHECK_FALSE(hidden.sent);
    m.abort();
    CHECK(m.mail({"<>"}).action == 'c');
    CHECK(play_rcpt(m, to("reject")).action == 'r');
}

TEST_CASE("Sendmail takes progress at RCPT for a bogus answer") {
    const filter f;
    auto m = f.connected(mta_kind::sendmail);
    CHECK(play(m, to("progress")).action == 'p');
}

TEST_CASE("stages the filter switched off are not sent, but their macros are") {
    filter f({"off", "no-reply"});
    auto m = f.connected(mta_kind::postfix);
    CHECK((m.negotiated().protocol & SMFIP_NOCONNECT) != 0);
    const auto reply = play(m, to("x"));
    CHECK(reply.action == 'c');
    CHECK(f.saw("rcpt ").ends_with("v=Postfix 3.7.11"));
    m.quit();
    CHECK(f.saw("close") == "close");
    const auto all = f.program().output();
    CHECK(all.find("connect ") == std::string::npos);
    CHECK(all.find("mail ") == std::string::npos);
    CHECK(all.find("helo client.example") != std::string::npos);
}

TEST_CASE("a filter that says nothing, nonsense, or leaves is an error") {
    const auto listener = listen_on("127.0.0.1:0");
    const auto answer = [&](const std::string& bytes) -> std::string {
        mta m(mta_kind::postfix);
        m.patience(100ms);
        m.connect(local_address(listener));
        stream filter_side(accept_from(listener));
        if (bytes == "close")
            filter_side.close();
        else
            CHECK(filter_side.write(bytes) == stream_status::ok);
        try {
            m.negotiate();
        } catch (const mta_error& problem) {
            return problem.what();
        }
        return "negotiated";
    };
    CHECK(answer("") == "waiting for the filter's reply to the negotiation: nothing in time");
    CHECK(answer("close").find("end of connection") != std::string::npos);
    CHECK(answer(std::string("\0\0\0\0", 4)) == "the filter sent a bad length");
    CHECK(answer("\x7f\x7f\x7f\x7fO") == "the filter sent a bad length");
    CHECK(answer(std::string("\0\0\0\1c", 5)) == "the filter does not negotiate");
    CHECK(answer(std::string("\0\0\0\3Oxx", 7)) == "the filter's negotiation is cut short");
    CHECK(answer(std::string("\0\0\0\x0dO\0\0\0\6\0\0\0\0\x70\0\0\0", 17)) ==
          "the filter asks for what was not offered");
    CHECK(answer(std::string("\0\0\0\x0dO\0\0\0\6\0\0\0\0\0\0\0\0", 17)) == "negotiated");
}
