// What the operator's tool makes of the daemon's answers, and of an operator's files.
#include "milter/tool/cache_command.h"
#include "milter/tool/status_command.h"
#include "milter/tool/terminal.h"

#include <doctest/doctest.h>

#include <sstream>

using namespace callforward::tool;

namespace {

json span(int rejected) {
    return {{"total", rejected + 2},
            {"classes", {{"deliverable", 2}, {"undeliverable", rejected}, {"unreachable", 0}}},
            {"hit_ratio", 0.25},
            {"answer_ms", {{"p50", 0.21}, {"p99", 120.0}, {"count", 3}}},
            {"probe_ms", {{"p50", nullptr}, {"p99", nullptr}, {"count", 0}}}};
}

json host(const std::string& name, const std::string& state, const std::string& error) {
    return {{"host", name},
            {"port", 25},
            {"protocol", "smtp"},
            {"tls", "may"},
            {"state", state},
            {"sessions", {{"idle", 1}, {"busy", 2}, {"opening", 0}}},
            {"most_sessions", 4},
            {"in_flight", 3},
            {"waiting", 0},
            {"latency_ms", 21},
            {"last_error", error.empty() ? json(nullptr) : json(error)},
            {"last_error_ago_s", error.empty() ? json(nullptr) : json(61)},
            {"penalty_s", 30},
            {"catch_all", json::array()}};
}

json status() {
    return {{"version", "0.1.0"},
            {"pid", 7},
            {"uptime_s", 3700},
            {"configuration",
             {{"file", "/etc/x.toml"},
              {"age_s", 100},
              {"reloads", {{"good", 1}, {"failed", 1}}},
              {"last_error", "x.toml:1:1: unknown section"},
              {"last_error_ago_s", 5}}},
            {"last_minute", span(1)},
            {"last_hour", span(10)},
            {"since_start", span(100)},
            {"pending", 4},
            {"cache",
             {{"store", "lmdb:/x"},
              {"store_error", nullptr},
              {"stored", 9},
              {"memory", {{"deliverable", 5}, {"undeliverable", 6}, {"undetermined", 7}}},
              {"evictions", 0}}},
            {"hosts", {{"known", 2}, {"complete", true}}},
            {"hosts_in_trouble", json::array({host("mx.a.test", "penalty", "refused")})},
            {"interlocks",
             json::array({{{"domain", "a.test"},
                           {"closed", true},
                           {"flips", 20},
                           {"canaries_refused", 0},
                           {"closed_for_s", 62}}})}};
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream from(text);
    for (std::string line; std::getline(from, line);) lines.push_back(line);
    return lines;
}

}  // namespace

TEST_CASE("Status says what an administrator has to know, and has no colours unless asked") {
    const std::string text = status_text(status(), false);
    for (const char* const word : {"0.1.0",
                                   "up 1 h 1 min",
                                   "last reload failed 5 s ago",
                                   "x.toml:1:1",
                                   "25 %",
                                   "0.21 / 120",
                                   "- / -",
                                   "4 call-forwards",
                                   "9 stored",
                                   "mx.a.test:25",
                                   "left alone for 30 s: refused",
                                   "a.test: closed for 1 min 2 s"}) {
        CAPTURE(word);
        CHECK(text.find(word) != std::string::npos);
    }
    CHECK(text.find('\x1b') == std::string::npos);
    CHECK(status_text(status(), true).find("\x1b[31m") != std::string::npos);
    for (const auto& line : lines_of(text)) CHECK(columns(line) <= 80);
}

TEST_CASE("Parts and times are written out, and not all is never said of a part") {
    const auto shown = [](double ratio, double ms) {
        json s = status();
        s["last_minute"]["hit_ratio"] = ratio;
        s["last_minute"]["answer_ms"]["p50"] = ms;
        return status_text(s, false);
    };
    const auto mentions = [&](double ratio, const std::string& part) {
        return shown(ratio, 1).find("  " + part + " %") != std::string::npos;
    };
    CHECK(mentions(0, "0"));
    CHECK(mentions(0.0004, "0.04"));
    CHECK(mentions(0.0512, "5.1"));
    CHECK(mentions(0.0999, "10"));
    CHECK(mentions(0.5, "50"));
    CHECK(mentions(0.99, "99"));
    CHECK(mentions(0.995, "99.5"));
    CHECK(mentions(0.9999, "99.9"));
    CHECK(mentions(1, "100"));
    for (const double ms : {0.21, 9.97, 42.0, 99.6, 99.99, 100.0, 12345.0}) {
        CAPTURE(ms);
        CHECK(shown(0.9999, ms).find("e+") == std::string::npos);
    }
    CHECK(shown(0, 99.6).find(" 100 / 120") != std::string::npos);
}

TEST_CASE("Status does not say that a shared store is empty, but what waits for it") {
    json shared = status();
    shared["cache"]["store"] = "redis://cache.test/0";
    shared["cache"]["stored"] = nullptr;
    shared["cache"]["unwritten"] = 0;
    const std::string text = status_text(shared, false);
    CHECK(text.find("redis://cache.test/0, shared\n") != std::string::npos);
    CHECK(text.find("stored") == std::string::npos);
    CHECK(text.find("wait for it") == std::string::npos);
    const json hosts{{"complete", true}, {"hosts", json::array()}};
    CHECK(top_text(shared, hosts, 80, 24, false).find("stored") == std::string::npos);
    shared["cache"]["unwritten"] = 3;
    CHECK(status_text(shared, false).find("3 changes wait for it") != std::string::npos);
}

TEST_CASE("Next hops fit into the terminal's width, whatever they say") {
    const std::string long_error(500, 'x');
    const json hosts{{"complete", true},
                     {"hosts",
                      json::array({host("mx.a.test", "up", ""),
                                   host(std::string(200, 'h'), "penalty", long_error)})}};
    for (const std::size_t width : {80U, 120U, 200U}) {
        for (const auto& line : lines_of(hosts_text(hosts, width, false))) {
            CHECK(columns(line) <= width);
        }
    }
    CHECK(hosts_text(hosts, 0, false).find(": " + long_error + '\n') != std::string::npos);
    CHECK(hosts_text(hosts, 0, false).find(std::string(200, 'h') + ":25 ") != std::string::npos);
    const json few{{"hosts", json::array({host("mx.a.test", "penalty", std::string(100, 'x'))})}};
    CHECK(hosts_text(few, 80, false).find(std::string(12, 'x') + "...") != std::string::npos);
    const std::string text = hosts_text(hosts, 120, false);
    CHECK(text.find("mx.a.test:25") != std::string::npos);
    CHECK(text.find("2+1/4") != std::string::npos);
    CHECK(text.find("1 min 1 s ago: xxx") != std::string::npos);
}

TEST_CASE("A screen of top has as many lines as the terminal, none longer than it is wide") {
    const json hosts{{"complete", true}, {"hosts", json::array()}};
    json many = hosts;
    for (int i = 0; i < 100; ++i) many["hosts"].push_back(host("mx.a.test", "up", "refused"));
    for (const auto& each : {hosts, many}) {
        for (const std::size_t width : {80U, 60U}) {
            const std::string screen = top_text(status(), each, width, 24, false);
            std::string bare;
            for (const auto& line : lines_of(screen)) {
                std::string text = line.substr(0, line.find("\x1b[K"));
                CHECK(columns(text) <= width);
                bare += text + '\n';
            }
            CHECK(lines_of(screen).size() == 24);
            CHECK(bare.find("undeliverable") != std::string::npos);
        }
    }
}

TEST_CASE("A line is cut without its colours") {
    CHECK(cut_line("\x1b[1mmany\x1b[0m words", 6) == "\x1b[1mmany\x1b[0m w");
    CHECK(cut_line("\x1b[1mmany words\x1b[0m", 4) == "\x1b[1mmany\x1b[0m");
    CHECK(cut_line("m\xc3\xbc\xc3\xbc", 2) == "m\xc3\xbc");
    CHECK(cut_line("as it is", 8) == "as it is");
}

TEST_CASE(
    "A file of addresses has comments and blank lines, and what is none is told by its line") {
    std::istringstream file(
        "# known\nuser@a.test\n\n  spaced@a.test \r\nnonsense\n@a.test\nx@b.test");
    std::size_t line = 0;
    const listed_addresses first = read_addresses(file, 3, line);
    REQUIRE(first.good.size() == 2);
    CHECK(first.good[1].text == "spaced@a.test");
    CHECK(first.good[1].number == 4);
    REQUIRE(first.bad.size() == 1);
    CHECK(first.bad[0].number == 5);
    const listed_addresses rest = read_addresses(file, 100, line);
    REQUIRE(rest.bad.size() == 1);
    CHECK(rest.bad[0].number == 6);
    REQUIRE(rest.good.size() == 1);
    CHECK(rest.good[0].number == 7);
    CHECK(read_addresses(file, 100, line).good.empty());
}

TEST_CASE("A table of Postfix is a file of addresses: the first words of its entries") {
    std::istringstream file(
        "user@a.test OK\nx@a.test\tto@b.test,\n  more@b.test\n\tmost@b.test\n"
        "\"a b\"@a.test OK\nlast@a.test # new\n");
    std::size_t line = 0;
    const listed_addresses all = read_addresses(file, 100, line);
    CHECK(all.bad.empty());
    std::string found;
    for (const auto& each : all.good) found += each.text + ':' + std::to_string(each.number) + ' ';
    CHECK(found == "user@a.test:1 x@a.test:2 \"a b\"@a.test:5 last@a.test:6 ");
}

TEST_CASE("Of an export only those who are deliverable are addresses that are known to exist") {
    std::istringstream file(
        "good@a.test\tdeliverable\taccepted\t250\t1\t2\n"
        "bad@a.test\tundeliverable\tunknown_user\t550\t1\t2\n"
        "\"a b\"@a.test\tundetermined\ttimed_out\t\t1\t2\n"
        "x@a.test undeliverable\ny@a.test\tundeliverable\n");
    std::size_t line = 0;
    const listed_addresses all = read_addresses(file, 100, line);
    REQUIRE(all.good.size() == 2);
    CHECK(all.good[0].text == "good@a.test");
    CHECK(all.good[1].text == "x@a.test");
    CHECK(all.bad.empty());
    CHECK(all.denied == 3);
}

TEST_CASE("What has an at sign is an address, anything else a domain") {
    CHECK(about("u@a.test").dump() == R"({"address":"u@a.test"})");
    CHECK(about("a.test").dump() == R"({"domain":"a.test"})");
}

TEST_CASE("Times are said in the two largest units") {
    CHECK(duration_words(0) == "0 s");
    CHECK(duration_words(59) == "59 s");
    CHECK(duration_words(60) == "1 min");
    CHECK(duration_words(3661) == "1 h 1 min");
    CHECK(duration_words(86400 * 3 + 3600) == "3 d 1 h");
    CHECK(duration_words(-5) == "0 s");
}

TEST_CASE("Columns are characters, and what is too long ends in dots") {
    CHECK(columns("a\xc3\xa4z") == 3);
    CHECK(left("abc", 5) == "abc  ");
    CHECK(left("abcdefgh", 6) == "abc...");
    CHECK(left("\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4", 4) == "\xc3\xa4...");
    CHECK(right("7", 3) == "  7");
}

TEST_CASE("what is said of a shared store is so of all requests of an import") {
    const auto said = [](const std::vector<json>& answers) {
        shared_state state;
        json whole = json::object();
        for (const json& each : answers) state.add(each);
        state.put_into(whole);
        return whole.dump() + ' ' + state.words();
    };
    const json done{{"shared", true}};
    const json waits{{"shared", false}};
    CHECK(said({json::object(), done}) == "{} ");
    const std::string later =
        "The shared store did not take all of it at once: the other hosts know the rest when it "
        "has.\n";
    CHECK(said({waits, done}) == "{\"shared\":false} " + later);
    const json of_four{{"shared", false}, {"merged", 4}};
    const std::string too_many = "Too many changes waited for the shared store: ";
    CHECK(said({of_four, {{"shared", false}, {"merged", 3}}, done}) ==
          "{\"shared\":false,\"merged\":4} " + too_many +
              "the recipients of 4 domains are asked about again.\n");
    CHECK(said({{{"shared", false}, {"merged", 1}}, waits}) ==
          "{\"shared\":false,\"merged\":1} " + later + too_many +
              "the recipients of a domain are asked about again.\n");
    CHECK(said({of_four, {{"shared", false}, {"merged", nullptr}}}) ==
          "{\"shared\":false,\"merged\":null} " + too_many +
              "all recipients are asked about again.\n");
}
