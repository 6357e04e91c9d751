#include "milter/log_line.h"

#include "tests/milter/example_record.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <deque>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

using namespace callforward;
using milter::logfmt_line;
using milter::make_trace_id;
using milter::rcpt_record;
using tests::example_record;

namespace {

using fields = std::vector<std::pair<std::string, std::string>>;

const std::vector<std::string> keys{"id",     "rcpt",     "from",    "client",     "domain",
                                    "route",  "host",     "address", "tls",        "stage",
                                    "code",   "enhanced", "outcome", "reason",     "class",
                                    "action", "mode",     "source",  "elapsed_ms", "text"};

int hex(char c) {
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

// One quoted value, from behind its opening quote up to and with the closing one.
std::optional<std::string> take_quoted(std::string_view& line) {
    std::string value;
    while (!line.empty()) {
        const char c = line.front();
        line.remove_prefix(1);
        if (c == '"') return value;
        if (c != '\\') {
            value += c;
            continue;
        }
        if (line.empty()) return std::nullopt;
        const char escape = line.front();
        line.remove_prefix(1);
        if (escape == 'x') {
            if (line.size() < 2) return std::nullopt;
            value += static_cast<char>(hex(line[0]) * 16 + hex(line[1]));
            line.remove_prefix(2);
        } else {
            value += escape == 'n' ? '\n' : escape == 'r' ? '\r' : escape == 't' ? '\t' : escape;
        }
    }
    return std::nullopt;
}

// What a reader that knows nothing of callforward makes of a line; nothing when it is no logfmt.
std::optional<fields> parse_logfmt(std::string_view line) {
    fields found;
    while (true) {
        const auto equals = line.find('=');
        if (equals == std::string_view::npos) return std::nullopt;
        const std::string key(line.substr(0, equals));
        if (key.empty() || key.find_first_of(" \"\\") != std::string::npos) return std::nullopt;
        line.remove_prefix(equals + 1);
        std::string value;
        if (line.starts_with('"')) {
            line.remove_prefix(1);
            const auto quoted = take_quoted(line);
            if (!quoted) return std::nullopt;
            value = *quoted;
        } else {
            const auto end = std::min(line.find(' '), line.size());
            value = line.substr(0, end);
            line.remove_prefix(end);
        }
        found.emplace_back(key, value);
        if (line.empty()) return found;
        if (line.front() != ' ') return std::nullopt;
        line.remove_prefix(1);
    }
}

const std::vector<std::string_view rcpt_record::*> texts{&rcpt_record::id,
                                                         &rcpt_record::rcpt,
                                                         &rcpt_record::from,
                                                         &rcpt_record::client,
                                                         &rcpt_record::domain,
                                                         &rcpt_record::route,
                                                         &rcpt_record::host,
                                                         &rcpt_record::address,
                                                         &rcpt_record::tls,
                                                         &rcpt_record::enhanced,
                                                         &rcpt_record::text};

bool is_one_clean_line(const std::string& line) {
    for (const char c : line) {
        if (c >= 0 && (c < ' ' || c == 0x7f)) return false;
    }
    return true;
}

}  // namespace

TEST_CASE("A line has every key in its order, quoted only where that is needed") {
    CHECK(logfmt_line(example_record()) ==
          "id=aaaaaab rcpt=u@a1.test from=<> client=192.0.2.1 domain=a1.test route=[10.0.0.5]:25 "
          "host=10.0.0.5 address=10.0.0.5 tls=\"\" stage=rcpt code=550 enhanced=5.1.1 "
          "outcome=undeliverable reason=unknown_user class=undeliverable action=reject "
          "mode=enforce source=probe elapsed_ms=12 text=\"No \\\"such\\\" user\"");
}

TEST_CASE("What is unknown is an empty value, and null in JSON") {
    const rcpt_record nothing;
    CHECK(logfmt_line(nothing) ==
          "id=\"\" rcpt=\"\" from=\"\" client=\"\" domain=\"\" route=\"\" host=\"\" address=\"\" "
          "tls=\"\" stage=\"\" code=\"\" enhanced=\"\" outcome=undetermined reason=off "
          "class=skipped action=accept mode=enforce source=none elapsed_ms=\"\" text=\"\"");
    const auto object = nlohmann::ordered_json::parse(milter::json_line(nothing));
    for (const auto* key : {"id", "rcpt", "from", "tls", "stage", "code", "elapsed_ms", "text"}) {
        CAPTURE(key);
        CHECK(object[key].is_null());
    }
}

TEST_CASE("JSON has the same keys in the same order, and numbers as numbers") {
    const auto object = nlohmann::ordered_json::parse(milter::json_line(example_record()));
    std::vector<std::string> found;
    for (const auto& [key, value] : object.items()) found.push_back(key);
    REQUIRE(found.size() == keys.size() + 1);
    CHECK(found.front() == "level");
    CHECK(std::equal(keys.begin(), keys.end(), found.begin() + 1));
    CHECK(object["level"] == "info");
    CHECK(object["code"] == 550);
    CHECK(object["elapsed_ms"] == 12);
    CHECK(object["from"] == "<>");
    CHECK(object["class"] == "undeliverable");
    CHECK(object["text"] == "No \"such\" user");
    CHECK(object["tls"].is_null());
}

TEST_CASE("Of other lines, too, numbers are numbers in JSON, and a text of digits is a text") {
    const milter::log_fields fields{{"domain", "a.test"}, {"flips", 20U}, {"why", "550"}};
    const auto object = nlohmann::ordered_json::parse(milter::message_line(
        milter::log_format::json, milter::log_level::warning, "interlock closed", fields));
    CHECK(object.dump() ==
          R"({"level":"warning","message":"interlock closed","domain":"a.test","flips":20,)"
          R"("why":"550"})");
    CHECK(milter::message_line(
              milter::log_format::logfmt, milter::log_level::warning, "closed", fields) ==
          "warning: closed domain=a.test flips=20 why=550");
}

TEST_CASE("A line reads back as what was logged, whatever bytes are in the values") {
    std::mt19937 random(1);
    std::uniform_int_distribution<int> any_byte(0, 255);
    std::uniform_int_distribution<std::size_t> any_length(0, 60);
    const std::string nasty = "\" =\\\n\r\tx\0\x1b\x7f\xc3\xbc\xe2\x80\xae";
    std::uniform_int_distribution<std::size_t> any_nasty(0, nasty.size() - 1);
    for (int round = 0; round < 500; ++round) {
        rcpt_record r = example_record();
        std::deque<std::string> values;
        for (const auto text : texts) {
            std::string& value = values.emplace_back(any_length(random), ' ');
            for (char& c : value) {
                c = round % 2 == 0 ? static_cast<char>(any_byte(random)) : nasty[any_nasty(random)];
            }
            r.*text = value;
        }
        const std::string line = logfmt_line(r);
        REQUIRE(is_one_clean_line(line));
        const auto found = parse_logfmt(line);
        REQUIRE(found);
        REQUIRE(found->size() == keys.size());
        for (std::size_t i = 0; i < keys.size(); ++i) REQUIRE((*found)[i].first == keys[i]);
        REQUIRE((*found)[1].second == r.rcpt);
        REQUIRE((*found)[5].second == r.route);
        REQUIRE((*found)[19].second == r.text);
        const std::string json = milter::json_line(r);
        REQUIRE(is_one_clean_line(json));
        REQUIRE(nlohmann::ordered_json::parse(json).size() == keys.size() + 1);
    }
}

TEST_CASE("Nothing forges a key, a line, or the order of a terminal's letters") {
    CHECK(milter::logfmt_value("x action=accept") == "\"x action=accept\"");
    CHECK(milter::logfmt_value("x\nid=1") == "\"x\\nid=1\"");
    CHECK(milter::logfmt_value("a=b") == "\"a=b\"");
    CHECK(milter::logfmt_value("\"") == "\"\\\"\"");
    CHECK(milter::logfmt_value("\\") == "\"\\\\\"");
    CHECK(milter::logfmt_value("\x1b[2J") == "\"\\x1b[2J\"");
    CHECK(milter::logfmt_value("j\xc3\xbcrgen") == "\"j\xc3\xbcrgen\"");
    CHECK(milter::logfmt_value("\xe2\x80\xaex") == "\"\\xe2\\x80\\xaex\"");
    CHECK(milter::logfmt_value("\xc3") == "\"\\xc3\"");
    rcpt_record r = example_record();
    r.text = "\xe2\x80\xae\x7f\xff";
    CHECK(milter::json_line(r).find(R"("text":"\u202e\u007f\ufffd")") != std::string::npos);
}

TEST_CASE("A value is cut to 1,000 bytes") {
    rcpt_record r = example_record();
    const std::string value(60000, 'x');
    for (const auto text : texts) r.*text = value;
    CHECK(logfmt_line(r).size() < 12000);
    CHECK(milter::json_line(r).size() < 12000);
    CHECK(milter::logfmt_value(std::string(1001, 'x')) == std::string(1000, 'x'));
}

TEST_CASE("A trace id is seven letters or digits, another one for each number") {
    CHECK(make_trace_id(0) == "aaaaaaa");
    CHECK(make_trace_id(31) == "aaaaaa7");
    CHECK(make_trace_id(32) == "aaaaaba");
    CHECK(make_trace_id((std::uint64_t{1} << 35) - 1) == "7777777");
    CHECK(make_trace_id(~std::uint64_t{0}) == "7777777");
    for (std::uint64_t i = 1; i < 2000; ++i) REQUIRE(make_trace_id(i) != make_trace_id(i - 1));
}
