#include "smtpclient/printable.h"

#include <doctest/doctest.h>

#include <string>

namespace callforward::smtpclient {

TEST_CASE("printable keeps printable ASCII") {
    std::string all;
    for (char c = ' '; c <= '~'; ++c) all += c;
    CHECK(printable(all) == all);
    CHECK(printable_utf8(all) == all);
    CHECK(printable("").empty());
}

TEST_CASE("printable makes every byte printable ASCII") {
    for (int byte = 0; byte < 256; ++byte) {
        const std::string one(1, static_cast<char>(byte));
        for (const auto& text : {one, "a" + one, one + "a", one + one}) {
            const std::string clean = printable(text);
            CHECK_FALSE(clean.empty());
            for (const char c : clean) CHECK((c >= ' ' && c <= '~'));
        }
    }
}

TEST_CASE("a run of line ends and tabs becomes one blank") {
    CHECK(printable("a\r\n\r\n\tb") == "a b");
    CHECK(printable("a\tb\tc") == "a b c");
    CHECK(printable("a  b") == "a  b");
}

TEST_CASE("printable cuts at its limit") {
    CHECK(printable("abcdef", 3) == "abc");
    CHECK(printable("abc", 3) == "abc");
    CHECK(printable("abc", 0).empty());
    CHECK(printable(std::string(5000, 'x')).size() == 1000);
    CHECK(printable(std::string(5000, '\n'), 3) == " ");
}

TEST_CASE("well-formed UTF-8 is kept where it may be") {
    const std::string text = "f\xc3\xbcr \xe2\x82\xac \xf0\x9f\x93\xa7";
    CHECK(printable_utf8(text) == text);
    CHECK(printable(text) == "f??r ??? ????");
    for (const auto* edge : {"\xc2\xa0",
                             "\xdf\xbf",
                             "\xe0\xa0\x80",
                             "\xed\x9f\xbf",
                             "\xee\x80\x80",
                             "\xf0\x90\x80\x80",
                             "\xf4\x8f\xbf\xbf"}) {
        CHECK(printable_utf8(edge) == edge);
    }
}

TEST_CASE("what is not well-formed UTF-8, or reorders or controls a terminal, is not kept") {
    const std::string bad[] = {
        "\x80",              // a continuation alone
        "\xc3",              // cut
        "\xe2\x82",          // cut
        "\xf0\x9f\x93",      // cut
        "\xc0\xaf",          // overlong
        "\xc1\xbf",          // overlong
        "\xe0\x80\xaf",      // overlong
        "\xf0\x80\x80\xaf",  // overlong
        "\xed\xa0\x80",      // surrogate
        "\xf4\x90\x80\x80",  // beyond Unicode
        "\xf5\x80\x80\x80",
        "\xff",
        "\xfe",
        "\xc2\x85",      // NEL, a C1 control
        "\xc2\x9b",      // CSI
        "\xe2\x80\xa8",  // line separator
        "\xe2\x80\xae",  // right-to-left override
        "\xe2\x81\xa6",  // left-to-right isolate
        "\xd8\x9c",      // Arabic letter mark
    };
    for (const auto& text : bad) {
        CAPTURE(text);
        CHECK(printable_utf8(text) == std::string(text.size(), '?'));
        CHECK(printable_utf8("a" + text + "b") == "a" + std::string(text.size(), '?') + "b");
    }
}

TEST_CASE("ASCII after a broken sequence is kept") {
    CHECK(printable_utf8("\xc3(") == "?(");
    CHECK(printable_utf8("\xe2\x82\"") == "??\"");
}

TEST_CASE("a UTF-8 sequence is not cut in two by the limit") {
    CHECK(printable_utf8("a\xe2\x82\xac", 3) == "a");
    CHECK(printable_utf8("a\xe2\x82\xac", 4) == "a\xe2\x82\xac");
}

TEST_CASE("letter case is that of ASCII alone") {
    CHECK(to_lower("AbZ@[`{\xc3\x84") == "abz@[`{\xc3\x84");
    CHECK(equal_ignoring_case("STARTTLS", "startTLS"));
    CHECK_FALSE(equal_ignoring_case("a", "ab"));
    CHECK_FALSE(equal_ignoring_case("@", "`"));
    CHECK_FALSE(equal_ignoring_case("\xc3\x84", "\xc3\xa4"));
    CHECK(equal_ignoring_case("", ""));
}

TEST_CASE("a word is found in any letter case") {
    CHECK(contains_ignoring_case("User UnKnown", "unknown"));
    CHECK_FALSE(contains_ignoring_case("user", "users"));
    CHECK(contains_ignoring_case("user", ""));
    CHECK(contains_ignoring_case("", ""));
    CHECK_FALSE(contains_ignoring_case("", "x"));
}

}  // namespace callforward::smtpclient
