#include "smtpclient/reply_habits.h"

#include <doctest/doctest.h>

using namespace callforward::smtpclient;

TEST_CASE("a refusal of MAIL is believed when it was confirmed often, until it is contradicted") {
    const reply listed{550, {"5.7.1 listed"}};
    reply_habits habits;
    for (int i = 0; i < 4; ++i) {
        CHECK_FALSE(habits.stands_by(listed));
        habits.note_second_answer("550 5.7.1", true);
    }
    CHECK(habits.stands_by(listed));
    CHECK_FALSE(habits.stands_by({550, {"5.7.1 one message per connection"}}));
    CHECK_FALSE(habits.stands_by({554, {"5.7.1 listed"}}));
    habits.note_second_answer("550 5.7.1", false);
    CHECK_FALSE(habits.stands_by(listed));
}

TEST_CASE("a refusal of MAIL that is believed is put to the test now and then") {
    const reply listed{550, {"5.7.1 listed"}};
    reply_habits habits;
    for (int i = 0; i < 4; ++i) habits.note_second_answer("550 5.7.1", true);
    int doubted = 0;
    for (int i = 0; i < 160; ++i) doubted += habits.stands_by(listed) ? 0 : 1;
    CHECK(doubted == 10);
}

TEST_CASE("the codes that are remembered are bounded") {
    reply_habits habits;
    for (int n = 0; n < 4; ++n) {
        for (int i = 0; i < 50; ++i)
            habits.note_second_answer("550 5.7." + std::to_string(i), true);
    }
    CHECK(habits.stands_by({550, {"5.7.3 no"}}));
    CHECK_FALSE(habits.stands_by({550, {"5.7.40 no"}}));
}

TEST_CASE("RSET that fails twice in a row is not said for a while") {
    using namespace std::chrono_literals;
    const std::chrono::steady_clock::time_point start;
    reply_habits habits;
    for (const bool well : {false, true, false, true}) habits.note_reset(well, start);
    CHECK(habits.takes_reset(start));
    habits.note_reset(false, start);
    CHECK(habits.takes_reset(start));
    habits.note_reset(false, start);
    CHECK_FALSE(habits.takes_reset(start));
    CHECK_FALSE(habits.takes_reset(start + 9min));
    CHECK(habits.takes_reset(start + 10min));
}
