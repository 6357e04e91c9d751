// The rings of decisions and dialogues, and the id that finds them again.
#include "milter/recent_decisions.h"
#include "milter/transcripts.h"

#include <doctest/doctest.h>

#include <chrono>
#include <memory>

using namespace callforward;
using namespace callforward::milter;
using namespace std::chrono_literals;

namespace {

const recent_decisions::time_point start{20000h};

rcpt_record refused(std::string_view rcpt) {
    rcpt_record r;
    r.rcpt = rcpt;
    r.action = action::reject;
    r.reason = smtpclient::reason::unknown_user;
    r.text = "no such user";
    r.code = 550;
    r.tls = "TLSv1.3/fingerprint";
    return r;
}

}  // namespace

TEST_CASE("A trace id is seven characters, and leads back to its number") {
    for (const std::uint64_t number :
         {std::uint64_t{0}, std::uint64_t{12345678901}, trace_id_bits}) {
        CHECK(parse_trace_id(make_trace_id(number)) == number);
        CHECK(parse_trace_id("cf-" + make_trace_id(number)) == number);
    }
    for (const char* const none :
         {"", "cf-", "abcdef", "abcdefgh", "ABCDEFG", "abcdef1", "cf-abcdef\n"}) {
        CHECK_FALSE(parse_trace_id(none));
    }
}

TEST_CASE(
    "A refusal is found by its id until 2048 others have come, whatever was accepted meanwhile") {
    const auto recent = std::make_unique<recent_decisions>();
    auto now = start;
    recent->note(7, refused("a@x.test"), now, {action::reject, 550, "5.1.1", "nobody here"});
    rcpt_record accepted;
    accepted.rcpt = "b@x.test";
    for (std::uint64_t i = 0; i < 5000; ++i) recent->note(100 + i, accepted, now += 2ms);
    const auto found = recent->find(7);
    REQUIRE(found);
    CHECK(found->rcpt.view() == "a@x.test");
    CHECK(found->text.view() == "no such user");
    CHECK(found->code == 550);
    CHECK(found->tls.view() == "TLSv1.3/fingerprint");
    CHECK(found->reply_code == 550);
    CHECK(found->reply_enhanced.view() == "5.1.1");
    CHECK(found->reply_text.view() == "nobody here");
    CHECK(recent->find(5099));
    CHECK_FALSE(recent->find(100));
    for (std::uint64_t i = 0; i < recent_decisions::others_kept; ++i) {
        recent->note(10000 + i, refused("c@x.test"), now);
    }
    CHECK_FALSE(recent->find(7));
}

TEST_CASE("Of the accepted 512 are kept in a second, and of the next one as many") {
    const auto recent = std::make_unique<recent_decisions>();
    rcpt_record accepted;
    accepted.rcpt = "b@x.test";
    for (std::uint64_t i = 1; i <= 600; ++i) recent->note(i, accepted, start + 1ms);
    CHECK(recent->find(512));
    CHECK_FALSE(recent->find(513));
    recent->note(1001, accepted, start + 1000ms);
    CHECK_FALSE(recent->find(1001));
    recent->note(1002, accepted, start + 1001ms);
    CHECK(recent->find(1002));
    recent->note(1003, accepted, start - 1h);  // somebody has set the clock
    CHECK(recent->find(1003));
}

TEST_CASE("The latest decisions come first, and a long text is cut") {
    const auto recent = std::make_unique<recent_decisions>();
    CHECK(recent->latest(10).empty());
    const std::string long_text(1000, 'x');
    for (std::uint64_t i = 1; i <= 20; ++i) {
        rcpt_record r = refused("u@x.test");
        r.text = long_text;
        recent->note(i, r, start);
    }
    const auto latest = recent->latest(5);
    REQUIRE(latest.size() == 5);
    CHECK(latest.front().id == 20);
    CHECK(latest.front().text.view().size() == 240);
}

TEST_CASE("A transcript is printable and bounded") {
    transcript t;
    t.add('C', "RCPT TO:<a@x.test>");
    t.add('S', "550 \x1b[31mno\r\n");
    CHECK(t.text() == "C: RCPT TO:<a@x.test>\nS: 550 ?[31mno \n");
    for (int i = 0; i < 1000; ++i) t.add('S', std::string(5000, 'x'));
    CHECK(t.text().size() <= transcript::longest + 100);
    CHECK(t.text().ends_with("*: the rest was not kept\n"));
}

TEST_CASE("Dialogues are found by id and by recipient, and their memory is bounded") {
    transcripts all;
    const auto now = std::chrono::system_clock::now();
    all.keep({1, "a@x.test", now, "first\n"});
    all.keep({2, "a@x.test", now, "second\n"});
    CHECK(all.of_id(1)->text == "first\n");
    CHECK(all.about("a@x.test")->text == "second\n");
    CHECK_FALSE(all.of_id(3));
    for (std::uint64_t i = 10; i < 10 + transcripts::most; ++i)
        all.keep({i, "b@x.test", now, "x\n"});
    CHECK_FALSE(all.of_id(1));
    CHECK(all.of_id(10));
    for (std::uint64_t i = 1000; i < 1300; ++i) {
        all.keep({i, "c@x.test", now, std::string(transcript::longest, 'x')});
    }
    CHECK_FALSE(all.of_id(1000));
    CHECK(all.of_id(1299));
}
