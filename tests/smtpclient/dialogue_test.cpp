#include "smtpclient/dialogue.h"

#include "tests/smtpclient/dialogue_player.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace callforward::smtpclient;
using namespace callforward::testing;

namespace {

// Bytes that a confused or hostile next hop might add to a reply.
const std::vector<std::string> extras{"2",
                                      "250 2.1.5 injected\r\n",
                                      "550 5.1.1 injected\r\n",
                                      "250-injected\r\n",
                                      "\r\n",
                                      "junk",
                                      "250 ok\r\n250 ok\r\n250 ok\r\n"};

bool is_answer(const std::string& words) {
    return !words.starts_with("undetermined ");
}

struct parsed {
    std::vector<reply> replies;
    std::vector<bool> malformed;  // one of each stretch of bytes

    bool operator==(const parsed&) const = default;
};

// All replies in the bytes, which come in the given pieces.
parsed parse_in_pieces(const std::vector<std::string_view>& pieces) {
    reply_parser parser;
    parsed all;
    for (const std::string_view piece : pieces) {
        std::string_view input = piece;
        while (!input.empty()) {
            const auto progress = parser.feed(input);
            if (progress == reply_parser::progress::malformed) {
                all.malformed.push_back(true);
                return all;
            }
            if (progress == reply_parser::progress::complete) all.replies.push_back(parser.take());
        }
    }
    return all;
}

// What the server says in one go, of all steps.
std::vector<std::string> stretches(const script& s) {
    std::vector<std::string> all(1);
    for (const auto& step : s.steps) {
        if (step.kind == step_kind::server) {
            all.back() += step.text;
        } else if (!all.back().empty()) {
            all.emplace_back();
        }
    }
    return all;
}

}  // namespace

TEST_CASE("every script's dialogue comes to the script's result") {
    CHECK(all_scripts().size() >= 60);
    for (const auto& s : all_scripts()) {
        CAPTURE(s.name);
        const auto got = play(s);
        CHECK(got.words == in_words(s.result));
        CHECK(got.mismatches == std::vector<std::string>{});
    }
}

TEST_CASE("what a script makes undeliverable was a reply to RCPT or DATA") {
    for (const auto& s : all_scripts()) {
        CAPTURE(s.name);
        if (s.result.outcome == "undetermined") continue;
        const bool asked_as_far = s.setting("probe_until", "rcpt") == "data";
        CHECK((s.result.stage == "rcpt" || (asked_as_far && s.result.stage == "data")));
    }
}

TEST_CASE("a script cut anywhere before the answer is undetermined, at the stage it was cut at") {
    std::size_t cuts = 0;
    for (const auto& s : all_scripts()) {
        const std::size_t end = steps_until_answer(s);
        for (std::size_t n = 0; n < end; ++n, ++cuts) {
            CAPTURE(s.name);
            CAPTURE(n);
            dialogue_play how;
            how.cut_after = n;
            const auto got = play(s, how);
            // A MAIL that was refused stays refused, though RCPT's reply never comes.
            if (s.result.reason == "sender_refused" && got.words == in_words(s.result)) continue;
            const std::string stage = stage_after(s, n);
            const std::string reason = stage == "handshake" ? "tls_failed " : "disconnected ";
            CHECK(got.words == "undetermined " + reason + stage);
        }
    }
    CHECK(cuts > 500);
}

TEST_CASE("no cut makes an answer of a script that has none") {
    for (const auto& s : all_scripts()) {
        if (s.result.outcome != "undetermined") continue;
        for (std::size_t n = 0; n < s.steps.size(); ++n) {
            CAPTURE(s.name);
            CAPTURE(n);
            dialogue_play how;
            how.cut_after = n;
            const auto got = play(s, how);
            // The first of two replies that came together is an answer when the second is cut off.
            const bool may_answer = s.result.reason == "protocol_error" &&
                                    (s.result.stage == "rcpt" || s.result.stage == "data");
            if (!may_answer) CHECK_FALSE(is_answer(got.words));
        }
    }
}

TEST_CASE("replies split at any byte are the same replies") {
    for (const auto& s : all_scripts()) {
        CAPTURE(s.name);
        for (const std::string& bytes : stretches(s)) {
            const std::string_view all = bytes;
            const auto whole = parse_in_pieces({all});
            std::vector<std::string_view> single;
            for (std::size_t i = 0; i < all.size(); ++i) single.push_back(all.substr(i, 1));
            CHECK(parse_in_pieces(single) == whole);
            for (std::size_t i = 1; i < all.size(); ++i) {
                const auto split = parse_in_pieces({all.substr(0, i), all.substr(i)});
                if (split == whole) continue;
                CAPTURE(i);
                CHECK(split == whole);
            }
        }
    }
}

TEST_CASE("a dialogue in single bytes comes to the same result") {
    for (const auto& s : all_scripts()) {
        CAPTURE(s.name);
        // Of surplus bytes it matters whether they are here already when a reply is complete.
        if (play(s).surplus) continue;
        dialogue_play how;
        how.byte_by_byte = true;
        const auto got = play(s, how);
        CHECK(got.words == in_words(s.result));
        CHECK(got.mismatches == std::vector<std::string>{});
    }
}

TEST_CASE("of a reply with extra bytes behind it nothing is believed") {
    std::size_t tried = 0;
    for (const auto& s : all_scripts()) {
        const std::size_t end = steps_until_answer(s);
        for (std::size_t n = 1; n <= end; ++n) {
            if (!ends_reply(s.steps[n - 1])) continue;
            const bool more_follow = n < s.steps.size() && s.steps[n].kind == step_kind::server;
            for (const auto& extra : extras) {
                // Before a reply of the same code this is just its first line.
                if (more_follow && extra == "250-injected\r\n") continue;
                CAPTURE(s.name);
                CAPTURE(n);
                CAPTURE(extra);
                dialogue_play how;
                how.inject = dialogue_play::injection{n, extra};
                const auto got = play(s, how);
                ++tried;
                CHECK_FALSE(is_answer(got.words));
                // The client is not heard again, neither in clear nor under TLS.
                CHECK(got.connections == 1);
                CHECK(got.words.starts_with("undetermined protocol_error "));
            }
        }
    }
    CHECK(tried > 1000);
}

TEST_CASE("behind the 220 of STARTTLS nothing is believed, and no handshake begun") {
    std::size_t tried = 0;
    for (const auto& s : all_scripts()) {
        for (std::size_t n = 1; n < s.steps.size(); ++n) {
            if (s.steps[n].kind != step_kind::tls || protocol_of(s) == protocol::smtps) continue;
            for (const auto& extra : extras) {
                CAPTURE(s.name);
                CAPTURE(extra);
                dialogue_play how;
                how.inject = dialogue_play::injection{n, extra};
                CHECK(play(s, how).words == "undetermined protocol_error starttls");
                ++tried;
            }
        }
    }
    CHECK(tried > 50);
}

TEST_CASE("an opening knows what the next hop calls itself, and takes nothing else for a name") {
    opening dialogue({"client.test", protocol::smtp, tls_level::none});
    static_cast<void>(dialogue.start());
    static_cast<void>(dialogue.on_reply({220, {"MX.next.test ESMTP"}}));
    static_cast<void>(dialogue.on_reply({250, {"localhost Hello <script> [192.0.2.1]", "HELP"}}));
    CHECK(dialogue.peer_names() == std::vector<std::string>{"mx.next.test"});
}

TEST_CASE("a reply to nothing that was asked is a protocol error") {
    opening dialogue({"client.test", protocol::smtps, tls_level::may});
    CHECK(std::holds_alternative<start_tls>(dialogue.start()));
    const auto now = dialogue.on_reply({220, {"mx.next.test"}});
    REQUIRE(std::holds_alternative<conclusion>(now));
    CHECK(std::get<conclusion>(now).finding.reason == reason::protocol_error);
}

TEST_CASE("a pipelined MAIL that is refused decides before RCPT is answered") {
    const auto q = question_of(parse_script("= undetermined sender_refused mail", "t.smtp"));
    extensions offered;
    offered.pipelining = true;
    transaction dialogue(q, offered);
    const auto first = dialogue.start();
    REQUIRE(std::holds_alternative<send>(first));
    CHECK(std::get<send>(first).replies == 2);
    CHECK_FALSE(dialogue.result());
    CHECK(std::holds_alternative<await_more>(dialogue.on_reply({550, {"5.7.1 no"}})));
    REQUIRE(dialogue.result());
    CHECK(dialogue.result()->stage == stage::mail);
    CHECK(dialogue.at() == stage::rcpt);
}

TEST_CASE("local rules speak of replies that end an opening, each of its stage") {
    const auto as = [](std::optional<stage> where, reason r) {
        classify_rule rule;
        rule.stage = where;
        rule.as = r;
        return rule;
    };
    // What the next hop says, up to the reply that ends it; "TLS": the handshake succeeds.
    struct row {
        stage at;
        std::vector<std::string> replies;
        tls_level level;
    };
    const std::vector<row> rows{
        {stage::greeting, {"554 go away"}, tls_level::may},
        {stage::greeting, {"421 not now"}, tls_level::may},
        {stage::ehlo, {"220 hi", "421 not now"}, tls_level::may},
        {stage::helo, {"220 hi", "502 what?", "550 no"}, tls_level::may},
        {stage::starttls, {"220 hi", "250-hi\r\n250 STARTTLS", "454 no"}, tls_level::encrypt},
        {stage::ehlo,
         {"220 hi", "250-hi\r\n250 STARTTLS", "220 go", "TLS", "550 no"},
         tls_level::may},
    };
    const auto end_of = [](const row& r, std::vector<classify_rule> rules) {
        opening::options options;
        options.helo = "client.test";
        options.tls = r.level;
        options.rules = std::move(rules);
        opening dialogue(std::move(options));
        step next = dialogue.start();
        for (const auto& text : r.replies) {
            if (text == "TLS") {
                next = dialogue.on_handshake();
                continue;
            }
            reply_parser parser;
            const std::string bytes = text + "\r\n";
            std::string_view input = bytes;
            REQUIRE(parser.feed(input) == reply_parser::progress::complete);
            next = dialogue.on_reply(parser.take());
        }
        const auto* const end = std::get_if<conclusion>(&next);
        REQUIRE(end != nullptr);
        return *end;
    };
    for (const auto& r : rows) {
        CAPTURE(r.replies.back());
        const conclusion usual = end_of(r, {});
        CHECK(usual.stage == r.at);
        for (const auto where : {std::optional<stage>(), std::optional(r.at)}) {
            const conclusion ruled = end_of(r, {as(where, reason::policy)});
            CHECK(ruled.finding == finding{verdict_class::refused, reason::policy});
            CHECK(ruled.stage == r.at);
            CHECK(ruled.reply);
        }
        // Rules for elsewhere, and those that only a reply to RCPT may follow.
        const auto other = end_of(r,
                                  {as(stage::mail, reason::policy),
                                   as(std::nullopt, reason::unknown_user),
                                   as(std::nullopt, reason::sender_refused),
                                   as(std::nullopt, reason::accepted)});
        CHECK(other.finding == usual.finding);
    }
}

TEST_CASE("a rule about STARTTLS ends no session that may go on in clear") {
    classify_rule rule;
    rule.stage = stage::starttls;
    rule.as = reason::policy;
    opening::options options;
    options.helo = "client.test";
    options.rules = {rule};
    opening dialogue(std::move(options));
    CHECK(std::holds_alternative<send>(dialogue.start()));
    CHECK(std::holds_alternative<send>(dialogue.on_reply(reply{220, {"hi"}})));
    CHECK(std::holds_alternative<send>(dialogue.on_reply(reply{250, {"hi", "STARTTLS"}})));
    CHECK(std::holds_alternative<ready>(dialogue.on_reply(reply{454, {"no"}})));
}
