#include "smtpclient/client_identity.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace callforward;
using namespace callforward::smtpclient;

namespace {

client_identity client(const std::string& address) {
    client_identity who;
    who.address = dns::ip_address::parse(address).value();
    return who;
}

xclient_attributes all_offered() {
    return parse_xclient("NAME ADDR PORT HELO PROTO");
}

std::string bytes(std::string_view text) {
    return std::string(text);
}

template <std::size_t Size>
std::string raw(const char (&text)[Size]) {
    return {text, Size - 1};
}

}  // namespace

TEST_CASE("only the attributes that are offered are sent") {
    auto who = client("192.0.2.7");
    who.name = "C7.client.test";
    who.port = 25000;
    who.helo = "c7";
    who.extended = true;
    CHECK(xclient_command(who, all_offered()) ==
          "XCLIENT NAME=c7.client.test ADDR=192.0.2.7 PORT=25000 HELO=c7 PROTO=ESMTP");
    CHECK(xclient_command(who, parse_xclient("login Addr TTL")) == "XCLIENT ADDR=192.0.2.7");
    CHECK_FALSE(parse_xclient("LOGIN  DESTADDR NAMES").any());
    CHECK_FALSE(parse_xclient("").any());
}

TEST_CASE("what is not known, or no fit value, is unavailable") {
    const std::string nothing =
        "XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.7 PORT=[UNAVAILABLE] HELO=[UNAVAILABLE]";
    CHECK(xclient_command(client("192.0.2.7"), all_offered()) == nothing);
    // Of Postfix and of Sendmail, where DNS has no name; and of somebody who tries.
    for (const char* const name :
         {"unknown", "[192.0.2.7]", "a b", "a.test\r\nRCPT TO:<x@y.test>", "a=b.test"}) {
        CAPTURE(name);
        auto who = client("192.0.2.7");
        who.name = name;
        CHECK(xclient_command(who, all_offered()) == nothing);
    }
    for (const std::string& helo : {bytes("a b"),
                                    bytes("a\r\nDATA"),
                                    bytes("\xc3\xbc.test"),
                                    std::string(256, 'a'),
                                    raw("a\0b")}) {
        CAPTURE(helo);
        auto who = client("192.0.2.7");
        who.helo = helo;
        CHECK(xclient_command(who, all_offered()) == nothing);
    }
}

TEST_CASE("HELO is sent as xtext, and left out of a line that would be too long") {
    auto who = client("192.0.2.7");
    who.helo = "+=(){}!\"";
    CHECK(xclient_command(who, parse_xclient("HELO")) == "XCLIENT HELO=+2B+3D(){}!\"");
    who.helo = std::string(255, '+');
    CHECK(xclient_command(who, parse_xclient("HELO")) == "XCLIENT HELO=[UNAVAILABLE]");
    who.helo = std::string(255, 'x');
    CHECK(xclient_command(who, parse_xclient("HELO")) == "XCLIENT HELO=" + who.helo);
}

TEST_CASE("HELO goes on as an argument of EHLO only where it is one") {
    const auto argument_of = [](const std::string& helo) {
        auto who = client("192.0.2.7");
        who.helo = helo;
        return who.helo_argument().value_or("none");
    };
    for (const char* const good : {"c7.client.test", "C7", "[192.0.2.7]", "[IPv6:2001:db8::7]"}) {
        CHECK(argument_of(good) == good);
    }
    for (const char* const bad :
         {"", "a b", "[", "[]", "[a.test]", "\xc3\xbc.test", "a\r\nDATA", "192.0.2.7"}) {
        CAPTURE(bad);
        CHECK(argument_of(bad) == "none");
    }
}

TEST_CASE("an IPv6 address has its prefix, and a mapped one is IPv4") {
    CHECK(xclient_command(client("2001:db8::7"), parse_xclient("ADDR")) ==
          "XCLIENT ADDR=IPV6:2001:db8::7");
    CHECK(xclient_command(client("::ffff:192.0.2.7"), parse_xclient("ADDR")) ==
          "XCLIENT ADDR=192.0.2.7");
}

TEST_CASE("clients that differ in anything have different keys") {
    std::vector<client_identity> all(6, client("192.0.2.7"));
    all[1].port = 1;
    all[2].name = "a";
    all[3].helo = "a";
    all[4].extended = true;
    all[5] = client("192.0.2.8");
    for (const auto& one : all) {
        const auto same = std::count_if(
            all.begin(), all.end(), [&](const auto& other) { return other.key() == one.key(); });
        CHECK(same == 1);
    }
}

TEST_CASE("the header of the PROXY protocol is that of its version 2") {
    const std::string signature = raw("\r\n\r\n\0\r\nQUIT\n");
    auto four = client("192.0.2.7");
    four.port = 0x1234;
    const auto host4 = dns::ip_address::parse("198.51.100.9");
    const auto host6 = dns::ip_address::parse("2001:db8::9");
    CHECK(proxy_header(four, host4, 25) ==
          signature + raw("\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x09\x12\x34\0\x19"));
    const std::string six = raw("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0");
    CHECK(proxy_header(client("2001:db8::7"), host6, 2525) ==
          signature + raw("\x21\x21\0\x24") + six + '\x07' + six + '\x09' + raw("\0\0\x09\xdd"));
    const std::string mapped = raw("\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x07");
    CHECK(proxy_header(four, host6, 25) ==
          signature + raw("\x21\x21\0\x24") + mapped + six + '\x09' + raw("\x12\x34\0\x19"));
    const std::string local = signature + raw("\x20\0\0\0");
    CHECK(proxy_header(std::nullopt, host4, 25) == local);
    CHECK(proxy_header(four, std::nullopt, 0) == local);
}
