// sender_fallback: asked once in place of a sender that is refused, in the same session, and first
// where that is known.
#include "smtpclient/refused_senders.h"
#include "tests/smtpclient/caller.h"
#include "tests/smtpclient/crowd.h"
#include "tests/smtpclient/loop_server.h"

#include <doctest/doctest.h>

using namespace callforward::smtpclient;
using namespace callforward::testing;
using namespace std::chrono_literals;
using what = loop_server::session::what;

namespace {

question with_fallback(const loop_server& server,
                       const std::string& local_part,
                       const std::string& sender = "alice@sender.test") {
    question q = question_for(server.hop(), local_part);
    q.sender = sender;
    change(q, [](transport& by) { by.sender_fallback = "probe@own.test"; });
    return q;
}

bool is_of_alice(const std::string& command) {
    return command.starts_with("MAIL FROM:<alice");
}

std::string no_mail_of_alice(loop_server::session& s, const std::string& command) {
    if (is_of_alice(command)) return "550 5.7.1 not from there\r\n";
    return one_by_one(s, command);
}

std::size_t mails(const loop_server& server, const std::string& sender) {
    std::size_t count = 0;
    for (const auto& s : server.sessions()) count += s->count("MAIL FROM:<" + sender + '>');
    return count;
}

}  // namespace

TEST_CASE("the other sender is tried in the session that refused the first") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, no_mail_of_alice);
    CHECK(all.words_of(with_fallback(server, "known1")) == "deliverable accepted rcpt");
    CHECK(server.sessions().size() == 1);
    CHECK(mails(server, "alice@sender.test") == 1);
    CHECK(mails(server, "probe@own.test") == 1);
}

TEST_CASE("what worked is known at the next recipient, for senders of that domain") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, no_mail_of_alice);
    CHECK(all.words_of(with_fallback(server, "known1")) == "deliverable accepted rcpt");
    CHECK(all.words_of(with_fallback(server, "nobody")) == "undeliverable unknown_user rcpt");
    CHECK(all.words_of(with_fallback(server, "known2", "carol@Sender.TEST")) ==
          "deliverable accepted rcpt");
    CHECK(mails(server, "alice@sender.test") == 1);
    CHECK(mails(server, "carol@Sender.TEST") == 0);
    CHECK(mails(server, "probe@own.test") == 3);
    CHECK(all.words_of(with_fallback(server, "known3", "dave@other.test")) ==
          "deliverable accepted rcpt");
    CHECK(mails(server, "dave@other.test") == 1);
}

TEST_CASE("the other sender is tried in a new session where the first one ended") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, [](auto& s, const std::string& command) {
        if (is_of_alice(command)) s.then = what::close;
        return no_mail_of_alice(s, command);
    });
    CHECK(all.words_of(with_fallback(server, "known1")) == "deliverable accepted rcpt");
    CHECK(server.sessions().size() == 2);
}

TEST_CASE("pipelined, the reply to a RCPT behind a refused MAIL is not the answer") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, [](auto& s, const std::string& command) -> std::string {
        if (is_of_alice(command)) return "550 5.7.1 not from there\r\n";
        if (command.starts_with("RCPT") && s.recipients == 1) return "503 5.5.1 MAIL first\r\n";
        return pipelining(s, command);
    });
    CHECK(all.words_of(with_fallback(server, "known1")) == "deliverable accepted rcpt");
    CHECK(server.sessions().size() == 1);
}

TEST_CASE("when the other sender is refused, too, the refusal is about neither") {
    crowd all(kept_sessions());
    bool only_alice = false;
    const loop_server server(all.loop, [&](auto& s, const std::string& command) -> std::string {
        const bool refused = only_alice ? is_of_alice(command) : command.starts_with("MAIL");
        return refused ? "550 5.7.1 no\r\n" : one_by_one(s, command);
    });
    const auto& asker = all.ask(with_fallback(server, "known1"));
    all.run();
    CHECK(asker.words() == "undetermined sender_refused mail");
    CHECK(asker.told->finding.verdict_class == verdict_class::refused);
    // Nothing was learnt of it.
    only_alice = true;
    CHECK(all.words_of(with_fallback(server, "known1")) == "deliverable accepted rcpt");
    CHECK(mails(server, "alice@sender.test") == 2);
}

TEST_CASE("without sender_fallback a refusal of the sender is the answer") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, no_mail_of_alice);
    const auto& asker = all.ask(question_for(server.hop(), "known1"));
    all.run();
    CHECK(asker.words() == "undetermined sender_refused mail");
    CHECK(asker.told->finding.verdict_class == verdict_class::sender_refused);
}

TEST_CASE("refused senders are known by host and domain for an hour, and the table is bounded") {
    refused_senders known;
    const steady_time start;
    const auto key = refused_senders::key("host a", "alice@Sender.test");
    CHECK(key == refused_senders::key("host a", "bob@sender.TEST"));
    CHECK(key != refused_senders::key("host a", ""));
    CHECK(key != refused_senders::key("host b", "alice@sender.test"));
    known.note(key, start);
    CHECK(known.knows(key, start + 59min));
    CHECK_FALSE(known.knows(key, start + 60min));
    known.forget(key);
    CHECK_FALSE(known.knows(key, start));
    known.note(key, start);
    known.forget_domain("other.test");
    CHECK(known.knows(key, start));
    known.forget_domain("sender.test");
    CHECK_FALSE(known.knows(key, start));
    known.note(key, start);
    known.forget_domain("");
    CHECK_FALSE(known.knows(key, start));
    for (int i = 0; i < 30000; ++i) known.note(std::to_string(i), start);
    CHECK(known.knows("29999", start));
    CHECK_FALSE(known.knows("0", start));
}
