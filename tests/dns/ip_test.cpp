#include "dns/ip.h"

#include <doctest/doctest.h>

using namespace callforward::dns;

TEST_CASE("an address is read and written in the usual forms") {
    struct row {
        const char* text;
        const char* canonical;
    };
    for (const row& r : {row{"192.0.2.1", "192.0.2.1"},
                         row{"0.0.0.0", "0.0.0.0"},
                         row{"255.255.255.255", "255.255.255.255"},
                         row{"2001:DB8:0:0::1", "2001:db8::1"},
                         row{"::", "::"},
                         row{"::1", "::1"},
                         row{"::ffff:192.0.2.1", "192.0.2.1"},
                         row{"::FFFF:c000:201", "192.0.2.1"}}) {
        CAPTURE(r.text);
        const auto address = ip_address::parse(r.text);
        REQUIRE(address);
        CHECK(address->text() == r.canonical);
        CHECK(address->is_v4() ==
              (std::string_view(r.canonical).find(':') == std::string_view::npos));
        CHECK(ip_address::parse(address->text()) == address);
    }
}

TEST_CASE("what is no address is refused") {
    using namespace std::string_view_literals;
    for (const auto wrong :
         {""sv,         "1.2.3"sv,        "1.2.3.256"sv, "1.2.3.4.5"sv,  "01.2.3.4"sv,
          " 1.2.3.4"sv, "1.2.3.4 "sv,     "1.2.3.4\0"sv, "1.2.3.4\n"sv,  "[::1]"sv,
          "::1%lo"sv,   "fe80::1%eth0"sv, ":::"sv,       "1::2::3"sv,    "12345::"sv,
          "::1.2.3"sv,  "127.0.0.1:25"sv, "IPv6:::1"sv,  "0x7f.0.0.1"sv, "2130706433"sv,
          "mx.test"sv}) {
        CAPTURE(wrong);
        CHECK_FALSE(ip_address::parse(wrong));
    }
    CHECK_FALSE(ip_address::parse(std::string(100000, ':')));
}

TEST_CASE("a literal may carry the IPv6 tag of RFC 5321, in any case") {
    CHECK(ip_address::parse_literal("192.0.2.1")->text() == "192.0.2.1");
    CHECK(ip_address::parse_literal("IPv6:2001:db8::1")->text() == "2001:db8::1");
    CHECK(ip_address::parse_literal("ipv6:::1")->text() == "::1");
    CHECK(ip_address::parse_literal("::1")->text() == "::1");
    CHECK_FALSE(ip_address::parse_literal("IPv6:"));
    CHECK_FALSE(ip_address::parse_literal("IPv5:::1"));
    CHECK_FALSE(ip_address::parse_literal(""));
}

TEST_CASE("bytes make addresses, and mapped ones become IPv4") {
    const ip_address four(ip_address::bytes_v4{192, 0, 2, 1});
    ip_address::bytes_v6 mapped{};
    mapped[10] = mapped[11] = 0xff;
    mapped[12] = 192, mapped[14] = 2, mapped[15] = 1;
    CHECK(ip_address(mapped) == four);
    CHECK(four.v6() == mapped);
    CHECK(four.v4() == ip_address::bytes_v4{192, 0, 2, 1});
    CHECK(ip_address() == ip_address::parse("0.0.0.0"));
}

TEST_CASE("the unspecified address is known in both families") {
    for (const char* const text : {"0.0.0.0", "::", "::ffff:0.0.0.0", "0:0::0", "::0.0.0.0"}) {
        CAPTURE(text);
        CHECK(ip_address::parse(text)->is_unspecified());
    }
    for (const char* const text : {"0.0.0.1", "1.0.0.0", "::1", "1::", "::ffff:0.0.0.1"}) {
        CAPTURE(text);
        CHECK_FALSE(ip_address::parse(text)->is_unspecified());
    }
}

TEST_CASE("a network contains the addresses of its prefix, and no others") {
    struct row {
        const char* network;
        const char* address;
        bool inside;
    };
    const row rows[] = {
        {"192.0.2.0/24", "192.0.2.255", true},
        {"192.0.2.0/24", "192.0.3.0", false},
        {"192.0.2.77/24", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "2001:db8::1", true},
        {"::/0", "192.0.2.1", false},
        {"2001:db8::/33", "2001:db8:7fff::", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"::1", "::1", true},
        {"::1/128", "::2", false},
        {"10.0.0.0/9", "10.127.1.1", true},
        {"10.0.0.0/9", "10.128.1.1", false},
        {"127.0.0.0/8", "::ffff:127.0.0.1", true},
        {"192.0.2.1/32", "192.0.2.0", false},
    };
    for (const row& r : rows) {
        CAPTURE(r.network);
        CAPTURE(r.address);
        const auto n = network::parse(r.network);
        REQUIRE(n);
        CHECK(n->contains(*ip_address::parse(r.address)) == r.inside);
        CHECK(contains({*n}, *ip_address::parse(r.address)) == r.inside);
        CHECK(network::parse(n->text()) == n);
    }
    CHECK_FALSE(contains({}, ip_address()));
}

TEST_CASE("what is no network is refused") {
    for (const char* wrong : {"",
                              "/",
                              "192.0.2.0/",
                              "192.0.2.0/33",
                              "::/129",
                              "192.0.2.0/-1",
                              "192.0.2.0/+1",
                              "192.0.2.0/8x",
                              "192.0.2.0/24/24",
                              "192.0.2/24",
                              "mx.test/8",
                              "192.0.2.0/ 8",
                              "[::1]/64",
                              "192.0.2.0/4294967304"}) {
        CAPTURE(wrong);
        CHECK_FALSE(network::parse(wrong));
    }
}

TEST_CASE("a list of networks holds the addresses of its IPv4 networks behind NAT64, too") {
    const std::vector<network> networks{*network::parse("127.0.0.0/8"),
                                        *network::parse("2001:db8::/32")};
    CHECK(contains(networks, *ip_address::parse("64:ff9b::127.0.0.1")));
    CHECK(contains(networks, *ip_address::parse("64:ff9b::7fff:ffff")));
    CHECK_FALSE(contains(networks, *ip_address::parse("64:ff9b::192.0.2.1")));
    CHECK_FALSE(contains(networks, *ip_address::parse("64:ff9b:1::127.0.0.1")));
    CHECK_FALSE(contains(networks, *ip_address::parse("64:ff9b:0:0:0:1:7f00:1")));
    CHECK_FALSE(contains({}, *ip_address::parse("64:ff9b::127.0.0.1")));
}
