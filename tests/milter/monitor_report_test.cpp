#include "milter/monitor_report.h"

#include "tests/support/temporary_folder.h"

#include <doctest/doctest.h>

#include <fstream>

using namespace callforward;
using namespace callforward::milter;
using namespace std::chrono_literals;
using smtpclient::reason;

namespace {

const monitor_report::wall_time noon{std::chrono::hours(500000)};

void note(monitor_report& m,
          const std::string& rcpt,
          monitor_report::wall_time at = noon,
          reason why = reason::unknown_user,
          action would = action::reject) {
    m.note(rcpt.substr(rcpt.find('@') + 1), why, would, rcpt, at);
}

}  // namespace

TEST_CASE(
    "What would have been refused is summed by domain, reason and action, the largest first") {
    monitor_report m;
    for (const char* const rcpt : {"a@x.test", "b@x.test", "a@x.test", "c@y.test"}) note(m, rcpt);
    note(m, "d@x.test", noon, reason::timed_out, action::tempfail);
    const auto all = m.since(noon - 24h, "", noon);
    REQUIRE(all.size() == 3);
    CHECK(all[0].domain == "x.test");
    CHECK(all[0].reason == reason::unknown_user);
    CHECK(all[0].count == 3);
    CHECK(all[0].examples == std::vector<std::string>{"a@x.test", "b@x.test"});
    CHECK(m.since(noon - 24h, "y.test", noon).size() == 1);
    CHECK(m.since(noon - 24h, "z.test", noon).empty());
}

TEST_CASE("Only what lies within the time asked for is summed") {
    monitor_report m;
    note(m, "a@x.test", noon);
    note(m, "a@x.test", noon + 48h);
    CHECK(m.since(noon + 24h, "", noon + 48h).front().count == 1);
    CHECK(m.since(noon, "", noon + 48h).front().count == 2);
}

TEST_CASE("What a clock far ahead has written is not told, and takes nothing away") {
    constexpr auto year = 365 * 24h;
    monitor_report m;
    for (const char* const rcpt : {"a@x.test", "b@x.test"}) note(m, rcpt);
    note(m, "c@x.test", noon + year);
    note(m, "d@x.test", noon + 1h);
    CHECK(m.since(noon, "", noon + 1h).front().count == 3);
    monitor_report again;
    again.read(m.text(), noon + year);
    note(again, "e@x.test", noon + 2h);
    CHECK(again.since(noon, "", noon + 2h).front().count == 4);
}

TEST_CASE("A clock that is behind at the start leaves the rows in the file") {
    const monitor_report::wall_time epoch{};
    monitor_report m;
    for (const char* const rcpt : {"a@x.test", "b@y.test"}) note(m, rcpt);
    monitor_report again;
    again.read(m.text(), epoch);
    CHECK(again.since(epoch, "", epoch).empty());
    note(again, "c@z.test", epoch);
    CHECK(again.text().find(m.text()) != std::string::npos);
    note(again, "a@x.test", noon);
    CHECK(again.since(noon, "x.test", noon).front().count == 2);
}

TEST_CASE("Where there is no room, rows of hours to come go first") {
    monitor_report m;
    note(m, "a@old.test", noon - 1h);
    for (int i = 0; i < 5000; ++i) note(m, "u@d" + std::to_string(i) + ".test", noon + 24h);
    for (int i = 0; i < 9000; ++i) note(m, "u@d" + std::to_string(i) + ".test", noon);
    CHECK(m.since(noon - 1h, "", noon).size() == 9001);
    CHECK(m.since(noon + 24h, "", noon + 24h).size() == monitor_report::most_rows - 9001);
}

TEST_CASE("Examples are few and printable, rows are bounded, and the oldest go") {
    monitor_report m;
    for (int i = 0; i < 20; ++i) note(m, std::to_string(i) + "@x.test");
    note(m, "\x1b[31m@evil.test");
    CHECK(m.since(noon, "x.test", noon).front().examples.size() == monitor_report::most_examples);
    CHECK(m.since(noon, "evil.test", noon).front().examples.front() == "?[31m@evil.test");
    for (int i = 0; i < 12000; ++i) note(m, "u@d" + std::to_string(i) + ".test", noon + 1h);
    const auto late = noon + monitor_report::kept + 2h;
    CHECK(m.since(noon, "", late).size() <= monitor_report::most_rows);
    CHECK(m.since(noon, "x.test", late).empty());
    note(m, "a@late.test", late);
    note(m, "a@late.test", late + 1h);
    CHECK(m.since(noon, "", late + 1h).size() == 1);
}

TEST_CASE("Written and read again it is the same, and a hostile file is read as far as it is one") {
    monitor_report m;
    for (const char* const rcpt : {"a@x.test", "b@x.test", "c@y.test"}) note(m, rcpt);
    monitor_report again;
    again.read(m.text(), noon);
    CHECK(again.text() == m.text());
    monitor_report other;
    other.read(
        "nonsense\n{}\n{\"hour\": 1e99}\n[[[[\n" + m.text() +
            "{\"hour\": -1, \"domain\": "
            "\"f.test\", \"reason\": \"unknown_user\", \"action\": \"reject\", \"count\": 1}\n"
            "{\"hour\": 500000, \"domain\": \"n.test\", \"reason\": \"unknown_user\", \"action\": "
            "\"reject\", \"count\": -1}\n{\"hour\":",
        noon);
    CHECK(other.text() == m.text());
}

TEST_CASE("A file is replaced as a whole, and says what is wrong when it cannot be") {
    const testing::temporary_folder folder;
    const std::string file = folder.file("report");
    monitor_report m;
    CHECK_FALSE(m.is_changed());
    note(m, "a@x.test");
    CHECK(m.is_changed());
    CHECK(m.save(file).empty());
    CHECK_FALSE(m.is_changed());
    monitor_report again;
    again.load(file, noon);
    CHECK(again.since(noon, "", noon).size() == 1);
    CHECK(m.save("/nonexistent/report").find("/nonexistent/report") != std::string::npos);
    CHECK(m.is_changed());
}
