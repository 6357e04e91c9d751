// The most important line of the program: what may make a recipient undeliverable.
#include "smtpclient/classify.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::smtpclient {
namespace {

constexpr int last_reason = static_cast<int>(reason::off);
constexpr int last_stage = static_cast<int>(stage::data);

const std::vector<std::string>& texts() {
    static const std::vector<std::string> all = {
        "",
        "User unknown",
        "<user@b.example>: Recipient address rejected: User unknown in virtual mailbox table",
        "Requested action not taken: mailbox unavailable",
        "Mailbox full, quota exceeded",
        "Relay access denied",
        "Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
        "Greylisted, try again later",
        "Too many recipients",
        "Authentication required",
        "Must issue a STARTTLS command first",
        "Sender address rejected: Domain not found",
        "sorry, no mailbox here by that name (#5.1.1)",
        "5.1.1 5.1.1 5.1.1",
        "\x1b\xff",
    };
    return all;
}

// "" is none; the class digit is right, wrong, or no class at all.
const std::vector<std::string>& codes() {
    static const std::vector<std::string> all = [] {
        std::vector<std::string> made = {"", "1.1.1 ", "3.1.1 ", "5.1 ", "5.1.1.1 ", "#5.1.1 "};
        for (const auto* status : {"2", "4", "5"}) {
            for (int subject = 0; subject <= 9; ++subject) {
                for (const int detail : {0, 1, 2, 3, 6, 7, 8, 10, 90}) {
                    made.push_back(std::string(status) + '.' + std::to_string(subject) + '.' +
                                   std::to_string(detail) + ' ');
                }
            }
        }
        return made;
    }();
    return all;
}

bool is_undeliverable(const finding& found) {
    return found.verdict_class == verdict_class::undeliverable;
}

bool is_stage_of_recipient(stage at) {
    return at == stage::rcpt || at == stage::data;
}

classify_rule rule_for(reason as) {
    classify_rule rule;
    rule.as = as;
    return rule;
}

}  // namespace

TEST_CASE("only a 5xx to RCPT or DATA makes a recipient undeliverable") {
    std::size_t broken = 0;
    std::size_t undeliverable = 0;
    for (int s = 0; s <= last_stage; ++s) {
        const auto at = static_cast<stage>(s);
        for (int code = 200; code <= 599; ++code) {
            // The product is large; where neither code nor text may matter, a part has to do.
            const bool matters = is_stage_of_recipient(at) && code >= 400;
            for (std::size_t e = 0; e < codes().size(); e += matters ? 1 : 17) {
                for (std::size_t i = e % 3; i < texts().size(); i += matters ? 3 : 5) {
                    const reply r{code, {codes()[e] + texts()[i]}};
                    const reply_context context{at, code % 2 == 0, "b.example"};
                    if (!is_undeliverable(classify(r, context))) continue;
                    ++undeliverable;
                    if (is_stage_of_recipient(at) && code >= 500) continue;
                    if (++broken < 10) {
                        MESSAGE(to_string(at) << ' ' << code << ' ' << r.text());
                    }
                }
            }
        }
    }
    CHECK(broken == 0);
    CHECK(undeliverable > 0);
}

TEST_CASE("a syntax error is never about the recipient unless its enhanced code says so") {
    for (const auto at : {stage::rcpt, stage::data}) {
        for (const int code : {500, 501, 502, 503, 504, 555}) {
            for (const auto& enhanced : codes()) {
                for (const auto& text : texts()) {
                    const reply r{code, {enhanced + text}};
                    if (!is_undeliverable(classify(r, {at, true, "b.example"}))) continue;
                    CAPTURE(r.lines.front());
                    REQUIRE(r.enhanced());
                    CHECK(r.enhanced()->subject == 1);
                }
            }
        }
    }
}

TEST_CASE("a refusal about the sender, security or authentication is never about the recipient") {
    for (const auto at : {stage::rcpt, stage::data}) {
        for (int code = 500; code <= 599; ++code) {
            for (const auto& text : texts()) {
                for (const std::string enhanced : {"5.1.7 ",
                                                   "5.1.8 ",
                                                   "4.1.8 ",
                                                   "5.1.20 ",
                                                   "5.1.90 ",
                                                   "5.7.0 ",
                                                   "5.7.1 ",
                                                   "5.7.606 ",
                                                   "4.7.1 "}) {
                    CAPTURE(enhanced);
                    CAPTURE(text);
                    CHECK_FALSE(is_undeliverable(
                        classify(reply{code, {enhanced + text}}, {at, true, "b.example"})));
                }
            }
        }
        for (const int code : {530, 534, 535, 538}) {
            for (const auto& enhanced : codes()) {
                CHECK_FALSE(is_undeliverable(
                    classify(reply{code, {enhanced + "User unknown"}}, {at, true, "b.example"})));
            }
        }
    }
}

TEST_CASE("words of policy on any line keep a bare refusal from being about the recipient") {
    for (const auto* words : {"relaying denied",
                              "blocked",
                              "listed as spam",
                              "Sender verify failed",
                              "5.7.1 denied",
                              "authentication required"}) {
        CAPTURE(std::string(words));
        for (const int code : {550, 551, 552, 553}) {
            for (const auto& r : {reply{code, {"User unknown", words}},
                                  reply{code, {words, "User unknown"}},
                                  reply{code, {"a", "b", words, "c"}}}) {
                CHECK_FALSE(is_undeliverable(classify(r, {stage::rcpt, true, "b.example"})));
            }
        }
    }
}

TEST_CASE("no local rule makes a recipient undeliverable but by a 5xx to RCPT or DATA") {
    std::size_t broken = 0;
    std::size_t undeliverable = 0;
    for (int why = 0; why <= last_reason; ++why) {
        const std::vector<classify_rule> rules = {rule_for(static_cast<reason>(why))};
        for (int s = 0; s <= last_stage; ++s) {
            const auto at = static_cast<stage>(s);
            for (int code = 200; code <= 599; ++code) {
                for (const auto* text : {"", "5.1.1 User unknown", "4.2.2 Mailbox full"}) {
                    const reply r{code, {text}};
                    if (!is_undeliverable(classify(r, {at, true, "b.example"}, rules))) continue;
                    ++undeliverable;
                    if (!is_stage_of_recipient(at) || code < 500) ++broken;
                }
            }
        }
    }
    CHECK(broken == 0);
    CHECK(undeliverable > 0);
}

TEST_CASE("no sequence of local rules makes a recipient undeliverable by a 4xx") {
    std::vector<classify_rule> all;
    for (int why = 0; why <= last_reason; ++why) all.push_back(rule_for(static_cast<reason>(why)));
    const auto check = [](const std::vector<classify_rule>& rules) {
        for (int code = 200; code <= 499; ++code) {
            for (int s = 0; s <= last_stage; ++s) {
                const reply_context context{static_cast<stage>(s), true, "b.example"};
                CHECK_FALSE(is_undeliverable(classify(reply{code, {"5.1.1 x"}}, context, rules)));
            }
        }
    };
    check(all);
    std::reverse(all.begin(), all.end());
    check(all);
}

TEST_CASE(
    "nothing but a reply to RCPT or DATA makes a recipient deliverable, with and without rules") {
    for (int why = 0; why <= last_reason; ++why) {
        const std::vector<classify_rule> rules = {rule_for(static_cast<reason>(why))};
        for (int s = 0; s <= last_stage; ++s) {
            const auto at = static_cast<stage>(s);
            if (is_stage_of_recipient(at)) continue;
            for (int code = 200; code <= 599; ++code) {
                const reply_context context{at, true, "b.example"};
                const reply r{code, {"x"}};
                CHECK(classify(r, context).verdict_class != verdict_class::deliverable);
                CHECK(classify(r, context, rules).verdict_class != verdict_class::deliverable);
            }
        }
    }
}

TEST_CASE("a code that is no SMTP code decides nothing") {
    for (const int code : {-1, 0, 1, 99, 100, 199, 600, 999}) {
        for (int s = 0; s <= last_stage; ++s) {
            const finding found =
                classify(reply{code, {"5.1.1 x"}}, {static_cast<stage>(s), true, "b.example"});
            CHECK(found == finding{verdict_class::unreachable, reason::protocol_error});
        }
    }
    CHECK_FALSE(is_undeliverable(classify(reply{}, {})));
    CHECK(is_undeliverable(classify(reply{550, {}}, {})));
}

}  // namespace callforward::smtpclient
