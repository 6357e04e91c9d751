#include "tests/support/script.h"

#include "tests/support/temporary_folder.h"

#include <doctest/doctest.h>

#include <fstream>

using namespace callforward::testing;

namespace {

std::string problem_of(std::string_view text) {
    try {
        static_cast<void>(parse_script(text, "x.smtp"));
    } catch (const script_error& problem) {
        return problem.what();
    }
    return "parsed";
}

}  // namespace

TEST_CASE("a script is settings, steps and a result") {
    const auto parsed = parse_script(
        "# unknown user\n"
        "? tls = may\n"
        "? rcpt = nobody@example.com\n"
        "\n"
        "S: 220 mx\n"
        "C: EHLO *\n"
        "S<: 250\n"
        "TLS\nTLS garbage\nNEXT\nCLOSE\nRESET\nSTALL\n"
        "= undeliverable unknown_user rcpt\n",
        "/somewhere/unknown-user.smtp");
    CHECK(parsed.name == "unknown-user");
    CHECK(parsed.setting("tls", "none") == "may");
    CHECK(parsed.setting("helo", "me.test") == "me.test");
    REQUIRE(parsed.steps.size() == 9);
    CHECK(parsed.steps[0].text == "220 mx\r\n");
    CHECK(parsed.steps[0].line == 5);
    CHECK(parsed.steps[1].kind == step_kind::client);
    CHECK(parsed.steps[1].any_rest);
    CHECK(parsed.steps[2].text == "250");
    CHECK(parsed.steps[3].kind == step_kind::tls);
    CHECK(parsed.steps[4].kind == step_kind::tls_garbage);
    CHECK(parsed.steps[5].kind == step_kind::next);
    CHECK(parsed.steps[6].kind == step_kind::close);
    CHECK(parsed.steps[7].kind == step_kind::reset);
    CHECK(parsed.steps[8].kind == step_kind::stall);
    CHECK(parsed.result.outcome == "undeliverable");
    CHECK(parsed.result.reason == "unknown_user");
    CHECK(parsed.result.stage == "rcpt");
}

TEST_CASE("the server's bytes know escapes, the client's lines are literal") {
    const auto parsed = parse_script(
        "S: a\\r\\n\\t\\0\\x7F\\xe4\\\\b\nC: RCPT TO:<\"a\\\"b\"@x>\n= deliverable accepted rcpt\n",
        "x");
    CHECK(parsed.steps[0].text == std::string("a\r\n\t\0\x7f\xe4\\b\r\n", 11));
    CHECK(parsed.steps[1].text == "RCPT TO:<\"a\\\"b\"@x>");
}

TEST_CASE("a client line matches exactly, or up to a final star") {
    const auto parsed = parse_script("C: QUIT\nC: EHLO *\n= undetermined timed_out greeting", "x");
    CHECK(matches(parsed.steps[0], "QUIT"));
    CHECK_FALSE(matches(parsed.steps[0], "quit"));
    CHECK_FALSE(matches(parsed.steps[0], "QUIT "));
    CHECK(matches(parsed.steps[1], "EHLO "));
    CHECK(matches(parsed.steps[1], "EHLO me.test"));
    CHECK_FALSE(matches(parsed.steps[1], "EHLO"));
}

TEST_CASE("a step can be shown as it was written") {
    const auto parsed =
        parse_script("S: 250 \\x00\nS<: 25\nC: A*\nTLS garbage\n= deliverable a b", "x");
    CHECK(parsed.steps[0].source() == "S: 250 \\x00");
    CHECK(parsed.steps[1].source() == "S<: 25");
    CHECK(parsed.steps[2].source() == "C: A*");
    CHECK(parsed.steps[3].source() == "TLS garbage");
}

TEST_CASE("what is not understood is an error with file and line") {
    const std::string end = "\n= deliverable accepted rcpt\n";
    CHECK(problem_of("S: 220" + end) == "parsed");
    CHECK(problem_of("# c\nX: 220" + end) == "x.smtp:2: not a step");
    CHECK(problem_of("CLOSED" + end) == "x.smtp:1: not a step");
    CHECK(problem_of("? port = 25" + end) == "x.smtp:1: unknown setting port");
    CHECK(problem_of("? tls = dane" + end) == "x.smtp:1: the setting tls can not be \"dane\"");
    CHECK(problem_of("? size = 1k" + end).starts_with("x.smtp:1: the setting size"));
    CHECK(problem_of("? size" + end).starts_with("x.smtp:1: a setting is written"));
    CHECK(problem_of("? tls = may\n? tls = may" + end) == "x.smtp:2: the setting tls comes twice");
    CHECK(problem_of("S: 1\n? tls = may" + end) == "x.smtp:2: a setting after the first step");
    CHECK(problem_of("S: \\q" + end).starts_with("x.smtp:1: unknown escape"));
    CHECK(problem_of("S: \\x4" + end).starts_with("x.smtp:1: unknown escape"));
    CHECK(problem_of("S: 220\r" + end).starts_with("x.smtp:1: a control character"));
    CHECK(problem_of("S: 220\n") == "x.smtp:1: no result line (= outcome reason stage) at the end");
    CHECK(problem_of("= deliverable accepted") ==
          "x.smtp:1: a result is written = outcome reason stage");
    CHECK(problem_of("= accepted accepted rcpt").starts_with("x.smtp:1: the outcome is"));
    CHECK(problem_of("= deliverable accepted rcpt\nS: 1") == "x.smtp:2: a line after the result");
}

TEST_CASE("a folder of scripts is loaded sorted, and an empty one is an error") {
    const temporary_folder folder;
    CHECK_THROWS_AS(static_cast<void>(load_scripts(folder.path())), script_error);
    for (const auto* name : {"b.smtp", "a.smtp", "notes.txt"}) {
        std::ofstream(folder.file(name)) << "= undetermined timed_out greeting\n";
    }
    const auto scripts = load_scripts(folder.path());
    REQUIRE(scripts.size() == 2);
    CHECK(scripts[0].name == "a");
    CHECK(scripts[1].name == "b");
}
