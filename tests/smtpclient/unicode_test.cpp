#include "smtpclient/unicode.h"

#include "smtpclient/mailbox.h"

#include <doctest/doctest.h>

using namespace callforward::smtpclient;

namespace {

const std::string composed_u = "\xc3\xbc";     // U+00FC
const std::string decomposed_u = "u\xcc\x88";  // u, U+0308

std::string key_of(const std::string& address) {
    return mailbox::parse(address).value().key();
}

}  // namespace

TEST_CASE("a text has one composed form, and a composed text is its own") {
    CHECK(composed(decomposed_u) == composed_u);
    CHECK(composed(composed_u) == composed_u);
    CHECK(composed("plain") == "plain");
    CHECK(composed("") == "");
    // Compatible is not equal: NFC keeps the ligature.
    CHECK(composed("\xef\xac\x81") == "\xef\xac\x81");
}

TEST_CASE("what is no UTF-8 stays as it is, and equals itself alone") {
    for (const std::string text : {"\xc3", "a\xff", "\xed\xa0\x80"}) {
        CHECK(composed(text) == text);
        CHECK(equal_apart_from_form(text, text));
        CHECK_FALSE(equal_apart_from_form(text, text + "a"));
    }
}

TEST_CASE("letter case and composition make no difference to a comparison") {
    CHECK(equal_apart_from_form("J\xc3\x9cRGEN", "j" + composed_u + "rgen"));
    CHECK(equal_apart_from_form("j" + decomposed_u + "rgen", "J\xc3\x9cRGEN"));
    CHECK(equal_apart_from_form("Bob", "bOB"));
    CHECK_FALSE(equal_apart_from_form("jurgen", "j" + composed_u + "rgen"));
    CHECK_FALSE(equal_apart_from_form("bob", "bo"));
}

TEST_CASE("addresses that differ in composition have one key, and are sent as they are") {
    CHECK(key_of("m" + decomposed_u + "ller@b.example") ==
          key_of("m" + composed_u + "ller@b.example"));
    CHECK(key_of("\"m" + decomposed_u + " x\"@b.example") ==
          key_of("\"m" + composed_u + " x\"@b.example"));
    // Nor is letter case folded, of other letters no more than of ASCII.
    CHECK(key_of("M\xc3\x9cller@b.example") != key_of("M" + composed_u + "ller@b.example"));
    const auto wide = mailbox::parse("m" + decomposed_u + "ller@b.example").value();
    CHECK(wide.address() == "m" + decomposed_u + "ller@b.example");
}
