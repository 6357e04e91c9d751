// Every script with a bit of it changed, doubled, left out or put elsewhere: what a broken line, a
// broken server or a hostile one makes of a good conversation. The damaged server hangs up when it
// hears what its script does not have.
#include "tests/smtpclient/dialogue_player.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <utility>

using namespace callforward::smtpclient;
using namespace callforward::testing;

namespace {

struct damaged_play {
    std::string words;
    bool answered = false;
};

damaged_play play_damaged(const script& s) {
    dialogue_play how;
    how.hang_up_at_mismatch = true;
    how.cut_after = s.steps.size();  // the connection ends with the script
    const auto got = play(s, how);
    return {got.words, !got.words.starts_with("undetermined ")};
}

// The first step of the server's reply to RCPT; the number of steps when there is none.
std::size_t reply_to_rcpt(const script& s) {
    bool asked = false;
    bool pipelined = false;
    for (std::size_t i = 0; i < s.steps.size(); ++i) {
        const auto& step = s.steps[i];
        if (step.kind == step_kind::client && step.text.starts_with("RCPT")) {
            asked = true;
            pipelined = i > 0 && s.steps[i - 1].kind == step_kind::client;
        } else if (asked && step.kind == step_kind::server) {
            if (!pipelined) return i;
            if (ends_reply(step)) pipelined = false;  // MAIL's
        }
    }
    return s.steps.size();
}

// What a reply to RCPT of these bytes may at most come to.
std::string most_of(std::string_view bytes) {
    reply_parser parser;
    if (parser.feed(bytes) != reply_parser::progress::complete) return "undetermined ";
    const reply r = parser.take();
    if (r.status_class() == 2) return "deliverable ";
    return r.status_class() == 5 ? "undeliverable " : "undetermined ";
}

std::string bytes_from(const script& s, std::size_t step) {
    std::string all;
    for (; step < s.steps.size() && s.steps[step].kind == step_kind::server; ++step) {
        all += s.steps[step].text;
    }
    return all;
}

// An answer has to be the reply to RCPT's own.
void check_law(const script& s, std::size_t rcpt, const std::string& original) {
    // There the reply to DATA decides, or the one to RCPT: another law.
    if (s.setting("probe_until", "rcpt") == "data") return;
    const auto got = play_damaged(s);
    if (!got.answered) return;
    CHECK(got.words.ends_with(" rcpt"));
    REQUIRE(rcpt < s.steps.size());
    CHECK(got.words.starts_with(most_of(bytes_from(s, rcpt))));
    if (!original.empty()) CHECK(got.words == original);
}

// Damage to anything before the reply to RCPT may lose the answer, but make no other one.
std::string original_if_before(const script& s, std::size_t step, std::size_t rcpt) {
    return step < rcpt ? in_words(s.result) : std::string{};
}

// The text of a step, its number, and the place of the byte.
using damage = std::function<void(std::string& text, std::size_t step, std::size_t at)>;

// Every byte of what the server says in every script, up to `most` of each step, one at a time.
std::size_t damage_each_byte(std::size_t most, const damage& change) {
    std::size_t tried = 0;
    for (const auto& whole : all_scripts()) {
        // A server that says too much is in step again when one of its line ends is lost.
        if (play(whole).surplus) continue;
        CAPTURE(whole.name);
        const std::size_t rcpt = reply_to_rcpt(whole);
        for (std::size_t n = 0; n < whole.steps.size(); ++n) {
            if (whole.steps[n].kind != step_kind::server) continue;
            const std::size_t length = std::min(whole.steps[n].text.size(), most);
            for (std::size_t at = 0; at < length; ++at, ++tried) {
                CAPTURE(n);
                CAPTURE(at);
                script s = whole;
                change(s.steps[n].text, n, at);
                check_law(s, rcpt, original_if_before(s, n, rcpt));
            }
        }
    }
    return tried;
}

}  // namespace

TEST_CASE("a bit changed in any byte that the server says makes no answer of another reply") {
    const auto tried = damage_each_byte(200, [](std::string& text, std::size_t n, std::size_t at) {
        text[at] = static_cast<char>(text[at] ^ (1 << ((at + n) % 8)));
    });
    CHECK(tried > 10000);
}

TEST_CASE("a byte too many or too few anywhere makes no answer of another reply") {
    const auto tried = damage_each_byte(80, [](std::string& text, std::size_t, std::size_t at) {
        if (at % 2 == 0) {
            text.erase(at, 1);
        } else {
            text.insert(at, 1, "\r\n25\0-"[at / 2 % 6]);
        }
    });
    CHECK(tried > 5000);
}

TEST_CASE("a step left out, said twice, or said too early makes no answer of another reply") {
    std::size_t tried = 0;
    for (const auto& whole : all_scripts()) {
        CAPTURE(whole.name);
        for (std::size_t n = 0; n < whole.steps.size(); ++n) {
            if (whole.steps[n].kind != step_kind::server) continue;
            CAPTURE(n);
            script without = whole;
            without.steps.erase(without.steps.begin() + static_cast<std::ptrdiff_t>(n));
            check_law(without, reply_to_rcpt(without), {});
            script twice = whole;
            twice.steps.insert(twice.steps.begin() + static_cast<std::ptrdiff_t>(n),
                               whole.steps[n]);
            check_law(twice, reply_to_rcpt(twice), {});
            if (n == 0 || whole.steps[n - 1].kind == step_kind::server) continue;
            script early = whole;
            std::swap(early.steps[n - 1], early.steps[n]);
            const auto got = play_damaged(early);
            // What comes before its command is a reply to nothing.
            CHECK_FALSE(got.answered);
            ++tried;
        }
    }
    CHECK(tried > 300);
}

TEST_CASE("the replies of one script in the places of another's make no answer but RCPT's") {
    std::mt19937 random(20);  // NOLINT: the same in every run
    const auto& all = all_scripts();
    for (int n = 0; n < 5000; ++n) {
        script s = all[random() % all.size()];
        const script& other = all[random() % all.size()];
        CAPTURE(s.name);
        CAPTURE(other.name);
        for (auto& step : s.steps) {
            if (step.kind != step_kind::server || random() % 3 != 0) continue;
            const auto& theirs = other.steps[random() % other.steps.size()];
            if (theirs.kind == step_kind::server) step.text = theirs.text;
        }
        check_law(s, reply_to_rcpt(s), {});
    }
}
