// Sessions that are kept and shared: what they carry, when they end, and that no answer goes to the
// wrong recipient whatever the next hop does with them.
#include "tests/smtpclient/caller.h"
#include "tests/smtpclient/crowd.h"
#include "tests/smtpclient/loop_server.h"
#include "tests/support/script_server.h"

#include <doctest/doctest.h>

#include <random>

using namespace callforward;
using namespace callforward::smtpclient;
using namespace callforward::testing;
using namespace std::chrono_literals;
using what = loop_server::session::what;

namespace {

const std::vector<std::pair<const char*, loop_server::answers>> both_manners{
    {"pipelining", pipelining}, {"one by one", one_by_one}};

// 0: known, 1: unknown, 2: later, and so on; each a name of its own.
std::string mixed(std::size_t i) {
    static const std::array<std::string, 3> kinds{"known", "unknown", "later"};
    return kinds.at(i % kinds.size()) + std::to_string(i);
}

bool is_for(const std::string& command, const std::string& local_part) {
    return command.starts_with("RCPT TO:<" + local_part + '@');
}

session_limits one_session() {
    session_limits limits = brief_sessions();
    limits.connections_per_host = 1;
    limits.recipients_refused_per_session = 0;
    return limits;
}

}  // namespace

TEST_CASE("recipients that come one after the other use one session, with RSET between them") {
    for (const auto& [name, manners] : both_manners) {
        CAPTURE(name);
        crowd all(kept_sessions());
        const loop_server server(all.loop, manners);
        for (const char* const who : {"known1", "unknown2", "later3", "known4"}) {
            all.ask(server.hop(), who, std::string(who) + "@sender.test");
            all.run();
            all.settle();  // for the reply to RSET
        }
        CHECK(all.wrong() == 0);
        REQUIRE(server.sessions().size() == 1);
        const auto& commands = server.sessions()[0]->commands;
        all.dissolve();
        CHECK(all.run_until([&] { return server.said_quit() == 1; }));
        CHECK(commands == std::vector<std::string>{"EHLO client.test",
                                                   "MAIL FROM:<known1@sender.test>",
                                                   "RCPT TO:<known1@next.test>",
                                                   "RSET",
                                                   "MAIL FROM:<unknown2@sender.test>",
                                                   "RCPT TO:<unknown2@next.test>",
                                                   "RSET",
                                                   "MAIL FROM:<later3@sender.test>",
                                                   "RCPT TO:<later3@next.test>",
                                                   "RSET",
                                                   "MAIL FROM:<known4@sender.test>",
                                                   "RCPT TO:<known4@next.test>",
                                                   "RSET",
                                                   "QUIT"});
    }
}

TEST_CASE("recipients that come at once share a session where PIPELINING is offered") {
    crowd all;
    const loop_server server(all.loop, pipelining, 20ms);
    for (std::size_t i = 0; i < 8; ++i) all.ask(server.hop(), mixed(i));
    all.run();
    CHECK(all.wrong() == 0);
    // One of each: but where the machine stalls, who waits behind a slow answer is asked again
    // elsewhere.
    CHECK(server.sessions().size() <= 2);
    CHECK(server.recipients() >= 8);
    CHECK(server.recipients() <= 16);
}

TEST_CASE("a session takes recipients_per_session, and says QUIT") {
    for (const auto& [name, manners] : both_manners) {
        for (const std::size_t most : {1U, 3U}) {
            CAPTURE(name);
            CAPTURE(most);
            session_limits limits = brief_sessions();
            limits.recipients_per_session = most;
            crowd all(limits);
            const loop_server server(all.loop, manners);
            for (std::size_t i = 0; i < 6; ++i) {
                all.ask(server.hop(), mixed(i));
                all.run();
            }
            for (std::size_t i = 6; i < 30; ++i) all.ask(server.hop(), mixed(i));
            all.run();
            CHECK(all.wrong() == 0);
            CHECK(server.recipients() >= 30);
            CHECK(server.recipients() <= 60);  // more than 30 where the machine stalls
            for (const auto& s : server.sessions()) CHECK(s->recipients <= most);
            CHECK(all.run_until([&] { return server.said_quit() == server.sessions().size(); }));
        }
    }
}

TEST_CASE("a session ends after recipients_refused_per_session") {
    for (const auto& [name, manners] : both_manners) {
        CAPTURE(name);
        session_limits limits = kept_sessions();
        limits.recipients_refused_per_session = 3;
        crowd all(limits);
        const loop_server server(all.loop, manners);
        for (int i = 0; i < 7; ++i) {
            all.ask(server.hop(), "unknown" + std::to_string(i));
            all.run();
            all.settle();  // for the reply to RSET
        }
        CHECK(all.wrong() == 0);
        REQUIRE(server.sessions().size() == 3);
        CHECK(server.sessions()[0]->recipients == 3);
        CHECK(server.sessions()[1]->recipients == 3);
    }
}

TEST_CASE("an idle session ends with QUIT, and nobody waits for the goodbye") {
    session_limits limits = brief_sessions();
    crowd all(limits);
    const loop_server server(all.loop, [](auto& s, const std::string& command) {
        return command == "QUIT" ? std::string() : pipelining(s, command);
    });
    all.ask(server.hop(), "known1");
    all.run();
    CHECK(server.said_quit() == 0);
    CHECK(all.run_until([&] { return server.said_quit() == 1; }));
    // The one that says goodbye is no longer counted, nor used.
    CHECK(all.ask(server.hop(), "known2").told.has_value() == false);
    all.run();
    CHECK(all.wrong() == 0);
    CHECK(server.sessions().size() == 2);
    CHECK(server.open_now() == 2);  // the goodbye is still waited for, by nobody who asks
    CHECK(all.run_until([&] { return server.open_now() == 0; }));
}

TEST_CASE("with idle_session 0 a session ends at once") {
    for (const auto& [name, manners] : both_manners) {
        CAPTURE(name);
        session_limits limits = brief_sessions();
        limits.idle_session = 0ms;
        crowd all(limits);
        const loop_server server(all.loop, manners);
        all.ask(server.hop(), "known1");
        all.run();
        all.ask(server.hop(), "unknown2");
        all.run();
        CHECK(all.wrong() == 0);
        CHECK(server.sessions().size() == 2);
        CHECK(all.run_until([&] { return server.said_quit() == 2; }));
        CHECK(server.sessions()[0]->count("RSET") == 0);
    }
}

TEST_CASE("one reply too many, anywhere in a shared session, gives nobody another's verdict") {
    for (const auto& [name, manners] : both_manners) {
        for (const char* const extra : {"250 2.1.5 ok\r\n", "550 5.1.1 unknown\r\n"}) {
            for (std::size_t k = 1; k <= 20; ++k) {
                CAPTURE(name);
                CAPTURE(extra);
                CAPTURE(k);
                crowd all(one_session());
                const loop_server server(
                    all.loop, [&, how = manners](auto& s, const std::string& c) {
                        const std::string reply = how(s, c);
                        return s.number == 1 && s.replies + 1 == k ? reply + extra : reply;
                    });
                for (std::size_t i = 0; i < 6; ++i) all.ask(server.hop(), mixed(i));
                all.run();
                for (const auto& a : all.askers()) {
                    CAPTURE(a.recipient);
                    CAPTURE(a.words());
                    const bool unfounded =
                        a.told->outcome() == outcome::undeliverable && !a.is_right();
                    // What comes between the replies to MAIL and RCPT passes for the latter.
                    const bool in_its_place =
                        (k - 3) % 3 == 0 && a.recipient == mixed((k - 3) / 3) + "@next.test";
                    CHECK_FALSE((unfounded && !in_its_place));
                    if (a.accepted()) CHECK(a.recipient.starts_with("known"));
                }
            }
        }
    }
}

TEST_CASE("one reply too many in every session, and the recipient's own late, accepts nobody") {
    for (const auto& [name, manners] : both_manners) {
        CAPTURE(name);
        crowd all;
        const loop_server server(all.loop, [how = manners](auto& s, const std::string& c) {
            s.work = is_for(c, "unknown1") ? 30ms : 0ms;
            const std::string reply = how(s, c);
            return c.starts_with("MAIL") ? reply + "250 2.1.5 and more\r\n" : reply;
        });
        const auto& asked = all.ask(server.hop(), "unknown1");
        all.run();
        CAPTURE(asked.words());
        CHECK_FALSE(asked.accepted());
    }
}

TEST_CASE("one 2xx too many before the replies begin accepts nobody who is unknown") {
    // Late, so that it is not seen beside the reply that it is taken for.
    const auto stray = [](const std::string& verb, const std::string& reply) {
        return [=](auto& s, const std::string& c) {
            if (c.starts_with(verb) && s.recipients == 0) {
                s.say(reply);
                s.work = 20ms;
            } else if (!c.empty()) {
                s.work = 5ms;
            }
        };
    };
    const std::vector<std::pair<std::string, std::string>> strays{
        {"EHLO", "220 and welcome\r\n"}, {"EHLO", "250 ok\r\n"}, {"MAIL", "250 late\r\n"}};
    for (const auto& [name, manners] : both_manners) {
        for (const auto& [verb, reply] : strays) {
            for (const bool kept : {true, false}) {
                CAPTURE(name);
                CAPTURE(verb);
                CAPTURE(reply);
                CAPTURE(kept);
                session_limits limits = kept_sessions();
                if (!kept) limits.idle_session = 0ms;
                crowd all(limits);
                const loop_server server(
                    all.loop,
                    [how = manners, stray = stray(verb, reply)](auto& s, const std::string& c) {
                        stray(s, c);
                        return how(s, c);
                    });
                for (const char* const who : {"known1", "unknown2", "known3", "unknown4"}) {
                    all.ask(server.hop(), who);
                }
                all.run();
                for (const auto& a : all.askers()) {
                    CAPTURE(a.recipient);
                    CAPTURE(a.words());
                    const bool known = a.recipient.starts_with("known");
                    CHECK_FALSE(a.told->outcome() ==
                                (known ? outcome::undeliverable : outcome::deliverable));
                }
            }
        }
    }
}

TEST_CASE("a next hop that answers each accepted recipient twice gives nobody another's verdict") {
    for (const auto& [name, manners] : both_manners) {
        for (const bool late : {true, false}) {
            CAPTURE(name);
            CAPTURE(late);
            crowd all(kept_sessions());
            const loop_server server(all.loop, [&, how = manners](auto& s, const std::string& c) {
                const std::string reply = how(s, c);
                if (!c.starts_with("RCPT") || !reply.starts_with("250")) return reply;
                if (!late) return reply + reply;
                s.say(reply);
                s.work = 2ms;
                return reply;
            });
            for (const char* const who :
                 {"known1", "known2", "unknown3", "known4", "known5", "known6", "unknown7"}) {
                all.ask(server.hop(), who);
            }
            all.run();
            for (const auto& a : all.askers()) {
                CAPTURE(a.recipient);
                CAPTURE(a.words());
                const bool known = a.recipient.starts_with("known");
                CHECK_FALSE(a.told->outcome() ==
                            (known ? outcome::undeliverable : outcome::deliverable));
            }
        }
    }
}

TEST_CASE("a reply too many that comes late gives the next recipient no verdict") {
    crowd all(one_session());
    // The first waits for longer than a session has to be idle for to be believed.
    const loop_server server(all.loop, [](auto& s, const std::string& c) {
        const std::string reply = one_by_one(s, c);
        if (c.starts_with("MAIL")) s.work = 300ms;
        if (c == "RSET") s.work = 150ms;
        if (c.starts_with("RCPT")) s.work = 20ms;
        if (c.starts_with("RCPT") && reply.starts_with("250")) s.say(reply);
        return reply;
    });
    all.ask(server.hop(), "known1");
    const auto& next = all.ask(server.hop(), "unknown2");
    all.run();
    CAPTURE(next.words());
    CHECK_FALSE(next.accepted());
}

TEST_CASE("recipients share a session when its replies were seen in step behind an accepted one") {
    for (const std::string first : {"known", "unknown"}) {
        CAPTURE(first);
        session_limits limits = kept_sessions();
        limits.connections_per_host = 1;
        crowd all(limits);
        const loop_server server(all.loop, pipelining, 5ms);
        for (std::size_t i = 0; i < 2; ++i) {
            all.ask(server.hop(), first + std::to_string(i));
            all.run();
        }
        const auto& session = *server.sessions().at(0);
        const std::size_t turns = session.turns;
        for (std::size_t i = 2; i < 8; ++i) all.ask(server.hop(), "unknown" + std::to_string(i));
        all.run();
        CHECK(all.wrong() == 0);
        CHECK(server.sessions().size() == 1);
        if (first == "known") CHECK(session.turns <= turns + 2);
        if (first == "unknown") CHECK(session.turns >= turns + 6);
    }
}

TEST_CASE("after a reply too many, recipients do not share sessions until all is in step again") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, pipelining, 5ms);
    for (std::size_t i = 0; i < 2; ++i) {
        all.ask(server.hop(), "known" + std::to_string(i));
        all.run();
    }
    all.settle();
    server.sessions().at(0)->say("250 ok\r\n");
    CHECK(all.run_until([&] { return server.open_now() == 0; }));
    for (std::size_t i = 2; i < 8; ++i) all.ask(server.hop(), "unknown" + std::to_string(i));
    all.run();
    CHECK(all.wrong() == 0);
    for (const auto& s : server.sessions()) {
        if (s->number > 1) CHECK(s->turns >= 1 + s->recipients);  // EHLO is one
    }
}

TEST_CASE("without PIPELINING who comes later in a session in step does not wait for RSET") {
    for (const bool refused : {true, false}) {  // or the session has been idle for a while
        crowd all(kept_sessions());
        bool answers_reset = true;
        const loop_server server(all.loop, [&](auto& s, const std::string& c) {
            return c == "RSET" && !answers_reset ? std::string() : one_by_one(s, c);
        });
        all.ask(server.hop(), refused ? "unknown1" : "known1");
        all.run();
        if (refused) all.settle();
        if (!refused) all.run_for(300ms);
        answers_reset = false;
        all.ask(server.hop(), "known2");
        all.run();
        CHECK(all.wrong() == 0);
        CHECK(server.sessions().size() == 1);
    }
}

TEST_CASE("a session for one ends with QUIT, whose reply shows whether replies are in step") {
    const std::vector<std::pair<std::string, bool>> goodbyes{{"221 2.0.0 bye\r\n", true},
                                                             {"250 ok\r\n", false},
                                                             {"550 5.1.1 no\r\n", false},
                                                             {"", true}};
    for (const auto& [name, manners] : both_manners) {
        for (const auto& [goodbye, right] : goodbyes) {
            CAPTURE(name);
            CAPTURE(goodbye);
            session_limits limits = brief_sessions();
            limits.idle_session = 0ms;
            crowd all(limits);
            const loop_server server(
                all.loop, [how = manners, said = goodbye](auto& s, const std::string& c) {
                    if (c != "QUIT") return how(s, c);
                    s.then = what::close;
                    return said;
                });
            const auto& one = all.ask(server.hop(), "known1");
            all.run();
            CHECK(one.is_right() == right);
            CHECK(one.after < 20s);
        }
    }
}

TEST_CASE("asked again in a session of its own, who is answered does not wait for a goodbye long") {
    crowd all;
    const loop_server server(all.loop, [](auto& s, const std::string& c) {
        if (c == "QUIT") return std::string();
        return c == "RSET" ? std::string("502 5.5.1 not here\r\n") : pipelining(s, c);
    });
    const auto& asked = all.ask(server.hop(), "known1");
    all.run();
    CHECK(asked.is_right());
    CHECK(asked.after < 20s);  // and not for the reply timeout
}

TEST_CASE("one reply too few, anywhere in a shared session, gives nobody another's verdict") {
    for (const auto& [name, manners] : both_manners) {
        for (std::size_t k = 3; k <= 20; ++k) {
            CAPTURE(name);
            CAPTURE(k);
            crowd all(one_session());
            std::string dropped;
            const loop_server server(all.loop, [&, how = manners](auto& s, const std::string& c) {
                std::string reply = how(s, c);
                if (s.number == 1 && s.replies + 1 == k && dropped.empty()) {
                    dropped = c;
                    return std::string();
                }
                return reply;
            });
            for (std::size_t i = 0; i < 6; ++i) {
                question q = question_for(server.hop(), mixed(i));
                change(q, [](transport& by) { by.reply_timeout = 60ms; });
                all.ask(std::move(q));
            }
            all.run();
            for (const auto& a : all.askers()) {
                CAPTURE(a.recipient);
                CAPTURE(a.words());
                const bool unfounded = a.told->outcome() == outcome::undeliverable && !a.is_right();
                CHECK_FALSE(unfounded);
                // A reply to RSET that takes the place of the lost one to RCPT is not told from it.
                const bool lost = is_for(dropped, a.recipient.substr(0, a.recipient.find('@')));
                if (a.accepted() && !lost) CHECK(a.recipient.starts_with("known"));
            }
        }
    }
}

TEST_CASE("no verdict is swapped under random replies and delays") {
    std::minstd_rand random(7);
    for (const auto& [name, manners] : both_manners) {
        CAPTURE(name);
        crowd all;
        const loop_server server(
            all.loop,
            [&, how = manners](auto& s, const std::string& c) {
                if (random() % 4 == 0) s.work = std::chrono::milliseconds(random() % 3);
                return how(s, c);
            },
            5ms);
        for (std::size_t i = 0; i < 300; ++i) all.ask(server.hop(), mixed(random() % 90000));
        all.run();
        CHECK(all.wrong() == 0);
        CHECK(server.recipients() >= 300);
        CHECK(server.recipients() <= 600);  // more than 300 where the machine stalls
    }
}

TEST_CASE("a session that the next hop ends while it is idle costs nobody a verdict") {
    for (const auto& [name, manners] : both_manners) {
        for (const int way : {0, 1, 2, 3}) {
            for (const bool seen : {true, false}) {  // before the next recipient comes
                CAPTURE(name);
                CAPTURE(way);
                CAPTURE(seen);
                crowd all;
                const loop_server server(all.loop, manners);
                all.ask(server.hop(), "known1");
                all.run();
                all.settle();
                const auto& first = *server.sessions().at(0);
                if (way == 0) first.leave(what::close);
                if (way == 1) first.leave(what::reset);
                if (way == 2) first.say("421 4.4.2 too idle\r\n");
                if (way == 3) first.say("550 5.1.1 unknown2@next.test\r\n");
                if (seen) all.settle();
                all.ask(server.hop(), "unknown2");
                all.ask(server.hop(), "known3");
                all.run();
                CHECK(all.wrong() == 0);
            }
        }
    }
}

TEST_CASE("a session in which the next hop has fallen silent costs nobody a verdict") {
    for (const auto& [name, manners] : both_manners) {
        CAPTURE(name);
        crowd all(kept_sessions());
        bool silent = false;
        const loop_server server(all.loop, [&, how = manners](auto& s, const std::string& c) {
            return silent && s.number == 1 ? std::string() : how(s, c);
        });
        for (const char* const who : {"known1", "known2"}) {
            question q = question_for(server.hop(), who);
            change(q, [](transport& by) { by.reply_timeout = 2s; });
            all.ask(std::move(q));
            all.run();
            all.settle();  // for the reply to RSET
            silent = true;
        }
        CHECK(all.wrong() == 0);
        CHECK(server.sessions().size() == 2);
    }
}

TEST_CASE("what ends a session in the middle of a batch costs nobody a verdict") {
    struct fault {
        const char* name;
        std::string reply;
        what then;
    };
    const std::vector<fault> faults{{"close", "", what::close},
                                    {"reset", "", what::reset},
                                    {"421", "421 4.3.2 busy\r\n", what::close},
                                    {"421 and stays", "421 4.3.2 busy\r\n", what::go_on},
                                    {"452", "452 4.5.3 too many recipients\r\n", what::go_on},
                                    {"garbage", "\x01\x02 what\r\n", what::go_on}};
    for (const auto& [name, manners] : both_manners) {
        for (const auto& f : faults) {
            for (std::size_t n = 2; n <= 5; ++n) {
                CAPTURE(name);
                CAPTURE(f.name);
                CAPTURE(n);
                crowd all(one_session());
                const loop_server server(
                    all.loop, [&, how = manners](auto& s, const std::string& c) {
                        if (s.number != 1 || s.recipients != n || !c.starts_with("RCPT"))
                            return how(s, c);
                        s.then = f.then;
                        return f.reply;
                    });
                for (std::size_t i = 0; i < 6; ++i) all.ask(server.hop(), mixed(i));
                all.run();
                for (const auto& a : all.askers()) {
                    CAPTURE(a.recipient);
                    CAPTURE(a.words());
                    CHECK(a.is_right());
                }
                CHECK(server.sessions().size() <= 6);
            }
        }
    }
}

TEST_CASE("a next hop that takes two recipients in each session gives every verdict") {
    for (const auto& [name, manners] : both_manners) {
        for (const char* const reply :
             {"421 4.7.0 enough\r\n", "452 4.5.3 enough\r\n", "452 Too many recipients\r\n", ""}) {
            CAPTURE(name);
            CAPTURE(reply);
            crowd all;
            const loop_server server(all.loop, [&, how = manners](auto& s, const std::string& c) {
                if (s.recipients <= 2 || !c.starts_with("RCPT")) return how(s, c);
                if (!std::string(reply).starts_with("452")) s.then = what::close;
                return std::string(reply);
            });
            for (std::size_t i = 0; i < 20; ++i) all.ask(server.hop(), mixed(i));
            all.run();
            for (const auto& a : all.askers()) {
                CAPTURE(a.recipient);
                CAPTURE(a.words());
                CHECK(a.is_right());
            }
            CHECK(server.sessions().size() <= 45);
        }
    }
}

TEST_CASE("what a next hop says of the session is nobody's verdict") {
    struct complaint {
        const char* verb;
        const char* reply;
    };
    const std::vector<complaint> complaints{
        {"MAIL", "503 5.5.1 Error: nested MAIL command\r\n"},
        {"MAIL", "550 5.7.1 only one message per connection\r\n"},
        {"MAIL", "451 4.5.3 not another one\r\n"},
        {"MAIL", "554 5.5.0 no\r\n"},
        {"RCPT", "503 5.5.1 need MAIL\r\n"},
        {"RCPT", "451 4.5.3 not another one\r\n"},
        {"RCPT", "550 5.5.3 not another one\r\n"},
        {"RCPT", "451 4.7.1 one recipient per session\r\n"},
        {"RCPT", "550 Maximum recipients exceeded\r\n"}};
    for (const auto& [name, manners] : both_manners) {
        for (const auto& [verb, reply] : complaints) {
            CAPTURE(name);
            CAPTURE(verb);
            CAPTURE(reply);
            crowd all;
            const loop_server server(
                all.loop, [&, how = manners](auto& s, const std::string& c) -> std::string {
                    // Of the second one, whichever of its commands comes first.
                    if (c.starts_with(verb) && s.count(verb) > 1) return reply;
                    return how(s, c);
                });
            for (std::size_t i = 0; i < 3; ++i) {
                all.ask(server.hop(), mixed(i));
                all.run();
            }
            for (std::size_t i = 3; i < 12; ++i) all.ask(server.hop(), mixed(i));
            all.run();
            for (const auto& a : all.askers()) {
                CAPTURE(a.recipient);
                CAPTURE(a.words());
                CHECK(a.is_right());
            }
            CHECK(server.sessions().size() <= 24);
        }
    }
}

TEST_CASE("a sender that is refused in each session costs a few of them, not one each time") {
    for (const auto& [name, manners] : both_manners) {
        CAPTURE(name);
        crowd all;
        const loop_server server(
            all.loop, [how = manners](auto& s, const std::string& c) -> std::string {
                return c.starts_with("MAIL") ? "550 5.7.1 you are listed\r\n" : how(s, c);
            });
        for (int i = 0; i < 14; ++i) {
            const auto& one = all.ask(server.hop(), "known" + std::to_string(i));
            all.run();
            CHECK(one.told->reply->code == 550);
            CHECK(one.told->stage == stage::mail);
        }
        CHECK(server.sessions().size() <= 10);
        CHECK(server.sessions().size() >= 8);
    }
}

TEST_CASE("a random recipient does not use up the only transaction of a session") {
    crowd all;
    const loop_server server(all.loop, [](auto& s, const std::string& c) -> std::string {
        if (c.starts_with("MAIL") && s.count("MAIL") > 1) return "550 5.7.1 only one message\r\n";
        return one_by_one(s, c);
    });
    for (std::size_t i = 0; i < 4; ++i) {
        question q = question_for(server.hop(), mixed(i));
        change(q, [](transport& by) { by.catch_all_probe = true; });
        const auto& one = all.ask(std::move(q));
        all.run();
        CAPTURE(one.words());
        CHECK(one.is_right());
    }
}

TEST_CASE(
    "a reply that begins and does not end is waited for no longer than one that never comes") {
    for (const char* const beginning : {"25", "250-first line\r\n"}) {
        CAPTURE(beginning);
        crowd all;
        const loop_server server(all.loop, [&](auto& s, const std::string& c) {
            return c.starts_with("MAIL") ? std::string(beginning) : one_by_one(s, c);
        });
        question q = question_for(server.hop(), "known1");
        change(q, [](transport& by) { by.reply_timeout = 300ms; });
        const auto& one = all.ask(std::move(q));
        all.run();
        CHECK(one.words() == "undetermined timed_out mail");
        CHECK(one.after < 20s);
        CHECK(all.run_until([&] { return server.open_now() == 0; }));
    }
}

TEST_CASE("RSET refused costs nobody a verdict") {
    for (const auto& [name, manners] : both_manners) {
        for (const char* const refusal : {"502 5.5.1 not here\r\n", "421 4.3.2 bye\r\n"}) {
            for (const bool always : {true, false}) {
                CAPTURE(name);
                CAPTURE(refusal);
                CAPTURE(always);
                crowd all;
                const loop_server server(
                    all.loop, [&, how = manners](auto& s, const std::string& c) {
                        return c == "RSET" && (always || s.number == 1) ? std::string(refusal)
                                                                        : how(s, c);
                    });
                for (std::size_t i = 0; i < 6; ++i) all.ask(server.hop(), mixed(i));
                all.run();
                for (const auto& a : all.askers()) {
                    CAPTURE(a.recipient);
                    CAPTURE(a.words());
                    CHECK(a.is_right());
                }
                CHECK(server.sessions().size() <= 24);
            }
        }
    }
}

TEST_CASE("RSET that is never answered is waited for twice, and costs nobody a verdict") {
    for (const auto& [name, manners] : both_manners) {
        for (const what then : {what::go_on, what::close}) {
            CAPTURE(name);
            crowd all(kept_sessions());
            const loop_server server(all.loop, [&, how = manners](auto& s, const std::string& c) {
                if (c != "RSET") return how(s, c);
                s.then = then;
                return std::string();
            });
            for (std::size_t i = 0; i < 6; ++i) {
                const auto& one = all.ask(server.hop(), mixed(i));
                all.run();
                CHECK(one.is_right());
                if (then == what::go_on) CHECK(one.after < 10s);  // and not for the reply timeout
            }
            // Two of them had to be asked again.
            CHECK(server.sessions().size() == 8);
            std::size_t resets = 0;
            for (const auto& s : server.sessions()) resets += s->count("RSET");
            CHECK(resets == 2);
        }
    }
}

TEST_CASE("a recipient at which the next hop always hangs up hurts itself alone") {
    for (const auto& [name, manners] : both_manners) {
        for (const bool loses_replies : {false, true}) {  // answers that were not sent yet
            CAPTURE(name);
            CAPTURE(loses_replies);
            crowd all;
            const loop_server server(
                all.loop,
                [&, how = manners](auto& s, const std::string& c) {
                    if (!is_for(c, "poison")) return how(s, c);
                    if (loses_replies) s.leave(what::reset);
                    s.then = what::reset;
                    return std::string();
                },
                5ms);
            for (std::size_t i = 0; i < 30; ++i) {
                all.ask(server.hop(), i == 5 ? std::string("poison") : mixed(i));
            }
            all.run();
            for (const auto& a : all.askers()) {
                CAPTURE(a.recipient);
                CAPTURE(a.words());
                if (a.recipient.starts_with("poison")) {
                    CHECK(a.words().starts_with("undetermined disconnected "));
                } else {
                    CHECK(a.is_right());
                }
            }
            CHECK(server.sessions().size() <= 24);
        }
    }
}

TEST_CASE("garbage behind an answer that lets another recipient in ends the session cleanly") {
    crowd all(one_session());
    const loop_server server(
        all.loop,
        [](auto& s, const std::string& c) {
            const std::string reply = pipelining(s, c);
            // Together with the end of one transaction: the next is submitted, and not yet written.
            return s.number == 1 && c == "RSET" && s.recipients == 2 ? reply + "garbage\r\n"
                                                                     : reply;
        },
        5ms);
    for (std::size_t i = 0; i < 20; ++i) all.ask(server.hop(), mixed(i));
    all.run();
    CHECK(all.wrong() == 0);
}

TEST_CASE("a next hop that ends each session in the same way at once is not asked for ever") {
    crowd all;
    const loop_server server(all.loop, [](auto& s, const std::string& c) {
        if (!c.starts_with("MAIL")) return pipelining(s, c);
        s.then = what::close;
        return std::string("421 4.3.2 busy\r\n");
    });
    for (std::size_t i = 0; i < 40; ++i) all.ask(server.hop(), mixed(i));
    all.run();
    for (const auto& a : all.askers()) CHECK(a.told->outcome() == outcome::undetermined);
    CHECK(server.sessions().size() <= 50);
}

TEST_CASE("thousands that no SMTP can carry to this host end at once") {
    crowd all;
    const loop_server server(all.loop, pipelining);
    for (int i = 0; i < 2000; ++i) all.ask(server.hop(), "\xc3\xa9" + std::to_string(i));
    all.run();
    for (const auto& a : all.askers()) CHECK(a.words() == "undetermined smtputf8 rcpt");
}

TEST_CASE("one TLS handshake serves many recipients") {
    std::string steps =
        "S: 220 hi\nC: EHLO *\nS: 250-hi\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\n"
        "C: EHLO *\nS: 250 hi\n";
    for (int i = 0; i < 5; ++i) {
        steps += "C: MAIL *\nS: 250 ok\nC: RCPT *\nS: 250 ok\nC: RSET\nS: 250 ok\n";
    }
    script_server_options options;
    options.identity = shared_identity();
    script_server server(host_steps(steps), options);
    caller calls({}, brief_sessions());
    question q = simple_question();
    set_hop(q, "127.0.0.1:" + std::to_string(server.port()));
    for (int i = 0; i < 5; ++i) {
        const verdict v = calls.ask(q);
        CHECK(in_words(v.finding, v.stage) == "deliverable accepted rcpt");
        CHECK(v.tls.has_value());
    }
    calls.finish();
    server.stop();
    CHECK(server.handshakes() == 1);
    CHECK(server.connections() == 1);
    CHECK(server.mismatches().empty());
}

TEST_CASE("a session whose handshake failed is made in clear under may, and never under encrypt") {
    const std::string broken =
        "S: 220 hi\nC: EHLO *\nS: 250-hi\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS garbage\n";
    std::string clear = "NEXT\nS: 220 hi\nC: EHLO *\nS: 250-hi\nS: 250 STARTTLS\n";
    for (int i = 0; i < 3; ++i) {
        clear += "C: MAIL *\nS: 250 ok\nC: RCPT *\nS: 250 ok\nC: RSET\nS: 250 ok\n";
    }
    for (const tls_level level : {tls_level::may, tls_level::encrypt}) {
        script_server_options options;
        options.identity = shared_identity();
        script_server server(host_steps(level == tls_level::may ? broken + clear : broken),
                             options);
        caller calls({}, brief_sessions());
        question q = simple_question();
        set_hop(q, "127.0.0.1:" + std::to_string(server.port()));
        change(q, [&](transport& by) { by.tls.level = level; });
        for (int i = 0; i < (level == tls_level::may ? 3 : 1); ++i) {
            CHECK(calls.answer(q) == (level == tls_level::may
                                          ? "deliverable accepted rcpt"
                                          : "undetermined tls_failed handshake"));
        }
        server.stop();
        CHECK(server.connections() == (level == tls_level::may ? 2 : 1));
        CHECK(server.mismatches().empty());
    }
}
