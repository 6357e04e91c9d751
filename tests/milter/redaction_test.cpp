#include "milter/redaction.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using callforward::milter::squeezed;
using callforward::milter::without_names;

namespace {

const std::vector<std::string> known{"mx1.internal.example",
                                     "backend",
                                     "10.0.0.5",
                                     "[2001:db8::1]",
                                     "corp.example.",
                                     "",
                                     "[]",
                                     "-",
                                     "."};

std::string cleaned(const std::string& text) {
    return squeezed(without_names(text, known), 400);
}

}  // namespace

TEST_CASE("Names and addresses of the next hop are taken out as whole words") {
    struct row {
        std::string text;
        std::string expected;
    };
    const std::vector<row> rows{
        {"User unknown", "User unknown"},
        {"User unknown at mx1.internal.example", "User unknown at"},
        {"MX1.Internal.EXAMPLE says no", "says no"},
        {"mx1.internal.example: no such user", "no such user"},
        {"host mx1.internal.example[10.0.0.5] said: no", "host said: no"},
        {"host mx1.internal.example [10.0.0.5]:25 said: no", "host said: no"},
        {"rejected (mx1.internal.example [10.0.0.5]).", "rejected."},
        {"rejected (10.0.0.5, mx1.internal.example) here", "rejected here"},
        {"rejected ((<10.0.0.5>)) here", "rejected here"},
        {"rejected by \"backend\" here", "rejected by here"},
        {"rejected by mx1.internal.example.", "rejected by."},
        {"rejected by mx1.internal.example, sorry", "rejected by, sorry"},
        {"connect 10.0.0.5:25 failed", "connect failed"},
        {"connect [IPv6:2001:DB8:0:0::1]:25 failed", "connect failed"},
        {"connect 2001:0db8:0000:0000:0000:0000:0000:0001 failed", "connect failed"},
        {"connect 2001:db8::1. Bye", "connect. Bye"},
        {"connect ::ffff:10.0.0.5 failed", "connect failed"},
        {"ask <postmaster@mx1.internal.example> for help", "ask for help"},
        {"see https://mx1.internal.example/help?user=1 for help", "see for help"},
        {"see (http://10.0.0.5:8080/x)", "see"},
        {"mail for corp.example loops", "mail for loops"},
        // Other words stay whole.
        {"mail for user@mail.corp.example", "mail for user@mail.corp.example"},
        {"xmx1.internal.example and mx1.internal.example2 and mx1.internal.example.org",
         "xmx1.internal.example and mx1.internal.example2 and mx1.internal.example.org"},
        {"backends, back-end, backend-2, my_backend, backend.org",
         "backends, back-end, backend-2, my_backend, backend.org"},
        {"110.0.0.5 10.0.0.50 10.0.0.5.6 v10.0.0.5", "110.0.0.5 10.0.0.50 10.0.0.5.6 v10.0.0.5"},
        {"2001:db8::10 2001:db8::2", "2001:db8::10 2001:db8::2"},
        {"<backend@other.example> unknown", "<backend@other.example> unknown"},
        // What was empty before is not ours to remove.
        {"MAIL FROM:<> refused (see [] below)", "MAIL FROM:<> refused (see [] below)"},
        {"10.0.0.5", ""},
        {"[mx1.internal.example]", ""},
        {"", ""},
    };
    for (const auto& r : rows) {
        CAPTURE(r.text);
        CHECK(cleaned(r.text) == r.expected);
    }
}

TEST_CASE("Long hostile texts are cleaned in bounded time") {
    std::string colons;
    for (int i = 0; i < 2000; ++i) colons += "1:";
    CHECK(without_names(colons, known) == colons);
    std::string brackets(2000, '[');
    brackets += "10.0.0.5" + std::string(2000, ']');
    CHECK(without_names(brackets, known).empty());
}

TEST_CASE("A text is cut at a word, and by force where there is none") {
    CHECK(squeezed("  a   b  ", 400) == "a b");
    CHECK(squeezed("one two three", 13) == "one two three");
    CHECK(squeezed("one two three", 12) == "one two");
    CHECK(squeezed("one two three", 7) == "one two");
    CHECK(squeezed(std::string(500, 'x'), 400) == std::string(400, 'x'));
    CHECK(squeezed("", 400).empty());
}
