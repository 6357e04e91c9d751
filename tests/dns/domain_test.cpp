#include "dns/domain.h"

#include <doctest/doctest.h>

using namespace callforward::dns;
using namespace std::string_view_literals;

TEST_CASE("a domain is lower case and without a trailing dot") {
    struct row {
        std::string_view text;
        const char* name;
    };
    for (const row& r : {row{"Example.TEST", "example.test"},
                         row{"example.test.", "example.test"},
                         row{"localhost", "localhost"},
                         row{"a-b.x1.test", "a-b.x1.test"},
                         row{"_dmarc.example.test", "_dmarc.example.test"},
                         row{"1.2.3.4.in-addr.arpa", "1.2.3.4.in-addr.arpa"},
                         row{"4you.test", "4you.test"},
                         row{"xn--bcher-kva.test", "xn--bcher-kva.test"},
                         row{"b\xc3\xbc"
                             "cher.test",
                             "xn--bcher-kva.test"},
                         row{"B\xc3\x9c"
                             "CHER.test",
                             "xn--bcher-kva.test"}}) {
        CAPTURE(r.text);
        const auto d = domain::parse(r.text);
        REQUIRE(d);
        CHECK(d->name() == r.name);
        CHECK(domain::parse(d->name()) == d);
    }
}

TEST_CASE("what DNS must not be asked for is no domain") {
    for (const auto wrong : {""sv,
                             "."sv,
                             ".."sv,
                             ".example.test"sv,
                             "example..test"sv,
                             "example.test.."sv,
                             "exa mple.test"sv,
                             "example.test\r\n"sv,
                             "exam\0ple.test"sv,
                             "example.test\0"sv,
                             "\texample.test"sv,
                             "192.0.2.1"sv,
                             "192.0.2.1."sv,
                             "1.2"sv,
                             "[192.0.2.1]"sv,
                             "::1"sv,
                             "a@b.test"sv,
                             "a/b.test"sv,
                             "a\\.b.test"sv,
                             "a\\046b.test"sv,
                             "*.test"sv,
                             "ex\"ample.test"sv,
                             "exam\x7fple.test"sv,
                             "b\xc3.test"sv,
                             "\xff\xfe.test"sv,
                             "<a>.test"sv,
                             "a:25"sv}) {
        CAPTURE(wrong);
        CHECK_FALSE(domain::parse(wrong));
    }
}

TEST_CASE("labels have up to 63 bytes and names up to 253") {
    const std::string label(63, 'a');
    CHECK(domain::parse(label + ".test"));
    CHECK_FALSE(domain::parse(label + "a.test"));
    const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'b');
    REQUIRE(longest.size() == 253);
    CHECK(domain::parse(longest));
    CHECK(domain::parse(longest + "."));
    CHECK_FALSE(domain::parse(longest + "b"));
    CHECK_FALSE(domain::parse(std::string(1000000, 'a')));
    CHECK_FALSE(domain::parse(std::string(1000000, '.')));
}

TEST_CASE("the parent is the name without its first label") {
    CHECK(domain::parse("a.b.test")->parent() == domain::parse("b.test"));
    CHECK(domain::parse("b.test")->parent() == domain::parse("test"));
    CHECK_FALSE(domain::parse("test")->parent());
}

TEST_CASE("a name whose last label is a number would be an address") {
    CHECK_FALSE(domain::parse("192.0.2.1"));
    CHECK_FALSE(domain::parse("192.0.2.1."));
    CHECK_FALSE(domain::parse("1.2"));
    CHECK_FALSE(domain::parse("12345"));
    CHECK_FALSE(domain::parse("example.7"));
    CHECK(domain::parse("1.2.test"));
    CHECK(domain::parse("a1"));
    CHECK(domain::parse("1a"));
}
