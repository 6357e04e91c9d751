#include "smtpclient/mailbox.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

namespace callforward::smtpclient {
namespace {

// The address that would be sent; "-" when nothing may be sent.
std::string sent(std::string_view untrusted) {
    const auto parsed = mailbox::parse(untrusted);
    return parsed ? parsed->address() : "-";
}

std::string key_of(std::string_view text) {
    const auto parsed = mailbox::parse(text);
    REQUIRE(parsed);
    return parsed->key();
}

std::string of_length(std::size_t local) {
    return std::string(local, 'x') + "@b.example";
}

}  // namespace

TEST_CASE("mailboxes that exist are accepted as they are written") {
    for (const std::string text : {
             "user@b.example",
             "User.Name@B.Example",
             "first.last+detail@b.example",
             "a@b",
             "0@0x.example",
             "!#$%&'*+-/=?^_`{|}~@b.example",
             ".leading@b.example",
             "trailing.@b.example",
             "two..dots@b.example",
             "under_score@host_name.example",
             "\"quoted\"@b.example",
             "\"with space\"@b.example",
             "\"\"@b.example",
             "\"a@b\"@c.example",
             "\"<a>\"@b.example",
             "\"a,b;c:d\"@b.example",
             "\"a\\\"b\"@c.example",
             "\"a\\\\\"@b.example",
             "\"a\\b\"@c.example",
             "\"[\"@b.example",
             "user@[192.0.2.1]",
             "user@[IPv6:2001:db8::1]",
             "user@[ipv6:2001:DB8::1]",
             "user@192.0.2.1",
             "user@xn--bcher-kva.example",
             "user@b\xc3\xbc"
             "cher.example",
             "m\xc3\xbcller@b.example",
             "\"m\xc3\xbcller \xe2\x82\xac\"@b.example",
             "user%other@b.example",
             "host!user@b.example",
         }) {
        CAPTURE(text);
        CHECK(sent(text) == text);
        CHECK(sent('<' + text + '>') == text);
    }
}

TEST_CASE("a trailing dot of the domain is not sent") {
    CHECK(sent("user@b.example.") == "user@b.example");
    CHECK(sent("<user@b.example.>") == "user@b.example");
    CHECK(sent("user@b.example..") == "-");
    CHECK(sent("user@.") == "-");
    CHECK(sent("user@192.0.2.1.") == "-");
}

TEST_CASE("what is no mailbox is refused") {
    for (const std::string text : {
             "",
             "<>",
             "<",
             ">",
             "@",
             "<@>",
             "user",
             "<user>",
             "user@",
             "@b.example",
             "<@b.example>",
             "postmaster",
             // brackets
             "<user@b.example",
             "user@b.example>",
             "<<user@b.example>>",
             "<user@b.example>>",
             "<user@b.example> ",
             " <user@b.example>",
             "><user@b.example",
             "us<er@b.example",
             "us>er@b.example",
             "user@b.ex>ample",
             "Name <user@b.example>",
             "<user@b.example> SIZE=1",
             "<user@b.example>>RCPT TO:<x@b.example",
             "(comment)user@b.example",
             "user@b.example (comment)",
             // quotes
             "\"user@b.example",
             "user\"@b.example",
             "\"@b.example",
             "us\"er@b.example",
             "\"a\"b@c.example",
             "a\"b\"@c.example",
             "\"a\".b@c.example",
             "\"a\"b\"@c.example",
             "\"a\\\"@b.example",
             "\"a\\\\\\\"@b.example",
             "\"\\\"@b.example",
             "\"a\"@b\"@c.example",
             "user@\"b.example\"",
             // blanks and specials
             " user@b.example",
             "user @b.example",
             "user@ b.example",
             "user@b.example ",
             "us er@b.example",
             "a,b@c.example",
             "a:b@c.example",
             "a;b@c.example",
             "a\\b@c.example",
             "a[b]@c.example",
             "a(b)@c.example",
             "a@b@c.example",
             // domains
             "user@.b.example",
             "user@b..example",
             "user@b.example/",
             "user@b,example",
             "user@b.example:25",
             "user@b%c.example",
             "user@256.0.0.1",
             "user@1.2",
             "user@12345",
             "user@::1",
             "user@2001:db8::1",
             "user@IPv6:2001:db8::1",
             // literals
             "user@[]",
             "user@[",
             "user@]",
             "user@[192.0.2.1",
             "user@192.0.2.1]",
             "user@[192.0.2.1].",
             "user@[[192.0.2.1]]",
             "user@[192.0.2.256]",
             "user@[192.0.2]",
             "user@[192.0.2.1]:25",
             "user@[b.example]",
             "user@[IPv6:192.0.2.1]",
             "user@[IPv6:2001:db8:::1]",
             "user@[fe80::1%eth0]",
             "user@[x-tag:content]",
         }) {
        CAPTURE(text);
        CHECK(sent(text) == "-");
    }
}

TEST_CASE("no control byte passes, wherever it stands") {
    for (const std::string whole : {"user@b.example",
                                    "<user@b.example>",
                                    "\"a b\"@b.example",
                                    "<@a.example:user@b.example>",
                                    "user@[192.0.2.1]",
                                    "user@b.example."}) {
        for (std::size_t at = 0; at <= whole.size(); ++at) {
            for (int byte = 0; byte < 256; ++byte) {
                if (byte >= ' ' && byte <= '~') continue;
                std::string text = whole;
                text.insert(at, 1, static_cast<char>(byte));
                CAPTURE(text);
                CHECK(sent(text) == "-");
            }
        }
    }
}

TEST_CASE("commands smuggled into an address do not pass") {
    for (const std::string text : {
             "user@b.example>\r\nRCPT TO:<victim@b.example",
             "<user@b.example>\r\nDATA\r\n",
             "<user@b.example\r\n>",
             "\"user\r\nRSET\r\n\"@b.example",
             "\"user\\\r\\\nRSET\"@b.example",
             "@a.example\r\nRSET\r\n:user@b.example",
             "user@b.example> NOTIFY=SUCCESS",
             "user@b.example> ORCPT=rfc822;x",
             "user@b.example\t",
             "user@b\xe3\x80\x82\r\nexample",
         }) {
        CAPTURE(text);
        CHECK(sent(text) == "-");
    }
    CHECK(sent(std::string_view("user@b.example\0", 15)) == "-");
    CHECK(sent(std::string_view("user@b.exa\0mple", 15)) == "-");
    CHECK(sent(std::string_view("\"us\0er\"@b.example", 17)) == "-");
}

TEST_CASE("a source route is removed") {
    CHECK(sent("<@a.example:user@b.example>") == "user@b.example");
    CHECK(sent("@a.example,@c.example:user@b.example") == "user@b.example");
    CHECK(sent("<@[192.0.2.1]:user@b.example>") == "user@b.example");
    CHECK(sent("<@[IPv6:2001:db8::1],@a.example:user@b.example>") == "user@b.example");
    CHECK(sent("<@a.example:\"x:y\"@b.example>") == "\"x:y\"@b.example");
}

TEST_CASE("what only begins like a source route is refused") {
    for (const std::string text : {
             "@a.example:",
             "@a.example:user",
             "@:user@b.example",
             "@a.example,:user@b.example",
             "@a.example,c.example:user@b.example",
             "@a.example,,@c.example:user@b.example",
             "@a b:user@b.example",
             "@a]:user@b.example",
             "@[a:user@b.example",
             "@a>:user@b.example",
             "@<a:user@b.example",
             "@\"a\":user@b.example",
             "@a.example:@c.example:user@b.example",
             "@a.example@c.example:user@b.example",
         }) {
        CAPTURE(text);
        CHECK(sent(text) == "-");
    }
}

TEST_CASE("UTF-8 has to be well-formed and without controls") {
    CHECK(sent("m\xc3\xbcller@b.example") == "m\xc3\xbcller@b.example");
    for (const std::string text : {
             "m\xfcller@b.example",             // ISO 8859-1
             "m\xc3@b.example",                 // cut
             "\xc0\xbcuser@b.example",          // an overlong '<'
             "\xe0\x80\x8auser@b.example",      // an overlong LF
             "\xed\xa0\x80@b.example",          // surrogate
             "\xc2\x85user@b.example",          // NEL
             "\xe2\x80\xa8user@b.example",      // line separator
             "\xe2\x80\xaeuser@b.example",      // right-to-left override
             "user@\xff.example",               // never UTF-8
             "user@b\xef\xbc\x9e.example",      // full-width '>'
             "user@\xef\xbc\x91.\xef\xbc\x92",  // full-width digits
             "user@b\xc2\xa0"
             "c.example",  // no-break space
         }) {
        CAPTURE(text);
        CHECK(sent(text) == "-");
    }
}

TEST_CASE("the parts are those of the grammar") {
    const auto plain = mailbox::parse("<Joe.User@B.Example>");
    REQUIRE(plain);
    CHECK(plain->local_part() == "Joe.User");
    CHECK(plain->domain_part() == "B.Example");
    REQUIRE(plain->domain());
    CHECK(plain->domain()->name() == "b.example");
    CHECK_FALSE(plain->literal());
    CHECK(plain->local_part_is_ascii());

    const auto literal = mailbox::parse("\"a@b\"@[192.0.2.1]");
    REQUIRE(literal);
    CHECK(literal->local_part() == "\"a@b\"");
    CHECK(literal->domain_part() == "[192.0.2.1]");
    CHECK_FALSE(literal->domain());
    REQUIRE(literal->literal());
    CHECK(literal->literal()->text() == "192.0.2.1");

    const auto numeric = mailbox::parse("user@192.0.2.1");
    REQUIRE(numeric);
    CHECK_FALSE(numeric->domain());
    CHECK(numeric->literal() == literal->literal());

    const auto wide = mailbox::parse("m\xc3\xbcller@b.example");
    REQUIRE(wide);
    CHECK_FALSE(wide->local_part_is_ascii());
}

TEST_CASE("the key folds the domain and nothing else") {
    CHECK(key_of("Joe@B.Example") == "Joe@b.example");
    CHECK(key_of("<Joe@B.EXAMPLE.>") == "Joe@b.example");
    CHECK(key_of("joe@b.example") != key_of("Joe@b.example"));
    CHECK(key_of("\"joe\"@b.example") == "\"joe\"@b.example");
    CHECK(key_of("u@B\xc3\xbc"
                 "cher.example") == "u@xn--bcher-kva.example");
    CHECK(key_of("u@XN--BCHER-KVA.example") == "u@xn--bcher-kva.example");
    CHECK(key_of("u@192.0.2.1") == "u@[192.0.2.1]");
    CHECK(key_of("u@[192.0.2.1]") == "u@[192.0.2.1]");
    CHECK(key_of("u@[IPv6:2001:DB8:0:0::1]") == "u@[2001:db8::1]");
    CHECK(key_of("u@[IPv6:::ffff:192.0.2.1]") == "u@[192.0.2.1]");
    CHECK(key_of("@a.example:u@b.example") == "u@b.example");
}

TEST_CASE("an address has at most 500 bytes") {
    const std::size_t domain = of_length(0).size();
    CHECK(mailbox::parse(of_length(65)));
    CHECK(mailbox::parse(of_length(mailbox::longest - domain)));
    CHECK_FALSE(mailbox::parse(of_length(mailbox::longest - domain + 1)));
    CHECK(mailbox::parse('<' + of_length(mailbox::longest - domain) + '>'));
    CHECK_FALSE(mailbox::parse(std::string(60000, 'x') + "@b.example"));
    CHECK_FALSE(mailbox::parse('"' + std::string(60000, 'x') + "\"@b.example"));
    CHECK_FALSE(mailbox::parse(std::string(60000, '@')));
    CHECK_FALSE(mailbox::parse(std::string(60000, '<')));
    CHECK_FALSE(mailbox::parse("user@" + std::string(64, 'x') + ".example"));
    CHECK(mailbox::parse("user@" + std::string(63, 'x') + ".example"));
}

TEST_CASE("an accepted mailbox is accepted again as it is sent") {
    for (const std::string text : {"<@a.example:user@b.example.>",
                                   "\"a\\\"b\"@c.example",
                                   "u@[IPv6:2001:db8::1]",
                                   "u@192.0.2.1",
                                   "m\xc3\xbcller@b\xc3\xbc"
                                   "cher.example"}) {
        const auto first = mailbox::parse(text);
        REQUIRE(first);
        const auto second = mailbox::parse(first->address());
        REQUIRE(second);
        CHECK(*second == *first);
        CHECK(second->key() == first->key());
    }
}

TEST_CASE("a reverse path is a mailbox or nothing at all") {
    CHECK(parse_reverse_path("") == "");
    CHECK(parse_reverse_path("<>") == "");
    CHECK(parse_reverse_path("<user@b.example>") == "user@b.example");
    CHECK(parse_reverse_path("<@a.example:user@b.example>") == "user@b.example");
    for (const std::string text :
         {"< >", " ", "<", ">", "<<>>", "<>>", "user", "<\r\n>", "<>\r\nRSET"}) {
        CAPTURE(text);
        CHECK_FALSE(parse_reverse_path(text));
    }
}

}  // namespace callforward::smtpclient
