#include "smtpclient/next_hop.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

namespace callforward::smtpclient {
namespace {

// The canonical text; "-" with an explanation when the text is no next hop.
std::string canonical(std::string_view text) {
    std::string error;
    const auto hop = parse_next_hop(text, error);
    CHECK(hop.has_value() == error.empty());
    for (const char c : error) CHECK((c >= ' ' && c <= '~'));
    CHECK(error.size() < 300);
    return hop ? to_string(*hop) : "-";
}

next_hop parsed(std::string_view text) {
    std::string error;
    const auto hop = parse_next_hop(text, error);
    REQUIRE(hop);
    return *hop;
}

}  // namespace

TEST_CASE("a next hop has one canonical text") {
    struct row {
        std::string_view text;
        std::string_view canonical;
    };
    const std::vector<row> rows = {
        {"b.example", "b.example"},
        {"B.Example.", "b.example"},
        {"smtp:b.example", "b.example"},
        {"SMTP:b.example:25", "b.example:25"},
        {"b.example:smtp", "b.example:25"},
        {"b.example:submission", "b.example:587"},
        {"b.example:smtps", "b.example:465"},
        {"b.example:00025", "b.example:25"},
        {"b.example:1", "b.example:1"},
        {"b.example:65535", "b.example:65535"},
        {"[b.example]", "[b.example]"},
        {"[B.example]:2525", "[b.example]:2525"},
        {"localhost", "localhost"},
        {"mail_host.example", "mail_host.example"},
        {"b\xc3\xbc"
         "cher.example",
         "xn--bcher-kva.example"},
        {"192.0.2.1", "[192.0.2.1]"},
        {"[192.0.2.1]", "[192.0.2.1]"},
        {"192.0.2.1:26", "[192.0.2.1]:26"},
        {"2001:db8::1", "[2001:db8::1]"},
        {"[2001:DB8::1]:25", "[2001:db8::1]:25"},
        {"[IPv6:2001:db8::1]", "[2001:db8::1]"},
        {"[ipv6:2001:db8::1]:24", "[2001:db8::1]:24"},
        {"::ffff:192.0.2.1", "[192.0.2.1]"},
        {"smtps:b.example", "smtps:b.example"},
        {"smtps:[b.example]:465", "smtps:[b.example]:465"},
        {"smtps:2001:db8::1", "smtps:[2001:db8::1]"},
        {"lmtp:b.example", "lmtp:[b.example]"},
        {"lmtp:[b.example]:lmtp", "lmtp:[b.example]:24"},
        {"LMTP:127.0.0.1:24", "lmtp:[127.0.0.1]:24"},
        {"lmtp:unix:/run/dovecot/lmtp", "lmtp:unix:/run/dovecot/lmtp"},
        // Hosts that are called like a prefix.
        {"smtps.:2", "smtp:smtps:2"},
        {"smtp:smtp:25", "smtp:smtp:25"},
        {"lmtp.", "smtp:lmtp"},
        {"unix:25", "unix:25"},
        {"lmtp:UNIX:/a b", "lmtp:unix:/a b"},
    };
    for (const auto& [text, expected] : rows) {
        CAPTURE(text);
        CHECK(canonical(text) == expected);
        CHECK(canonical(expected) == expected);
        CHECK(parsed(expected) == parsed(text));
    }
}

TEST_CASE("what is no next hop is refused with a reason") {
    for (const std::string text : {
             "",
             " ",
             ":",
             ":25",
             "[",
             "]",
             "[]",
             "[]:25",
             "[b.example",
             "b.example]",
             "[b.example]25",
             "[b.example]:",
             "[b.example]:25:26",
             "[[b.example]]",
             "b.example:",
             "b.example:0",
             "b.example:65536",
             "b.example:99999999999999999999",
             "b.example:-1",
             "b.example:+25",
             "b.example:25 ",
             "b.example: 25",
             "b.example:0x19",
             "b.example:http",
             "b.example:25:26",
             " b.example",
             "b.example ",
             "b example",
             "b..example",
             ".b.example",
             "user@b.example",
             "b.example,c.example",
             "b.example/25",
             "[192.0.2.256]",
             "192.0.2",
             "1.2.3.4.5",
             "12345",
             "2001:db8::1::2",
             "2001:db8::1]:25",
             "[2001:db8::1%eth0]",
             "smtp:",
             "smtps:",
             "lmtp:",
             "http://b.example",
             "unix:/run/lmtp",
             "smtp:unix:/run/lmtp",
             "smtps:unix:/run/lmtp",
             "lmtp:unix:",
             "lmtp:unix:run/lmtp",
             "b.example\r\n",
             "b.example\n:25",
             "\x1b[2J",
         }) {
        CAPTURE(text);
        CHECK(canonical(text) == "-");
    }
    CHECK(canonical(std::string_view("b.example\0", 10)) == "-");
    CHECK(canonical(std::string_view("lmtp:unix:/a\0b", 14)) == "-");
    CHECK(canonical(std::string(100000, 'x')) == "-");
    CHECK(canonical("lmtp:unix:/\r\n250 OK") == "-");
}

TEST_CASE("a socket's path fits into sockaddr_un") {
    CHECK(parsed("lmtp:unix:/" + std::string(106, 'x')).socket_path.size() == 107);
    CHECK(canonical("lmtp:unix:/" + std::string(107, 'x')) == "-");
}

TEST_CASE("brackets, addresses and LMTP mean no MX look-up") {
    CHECK(parsed("b.example").look_up_mx);
    CHECK(parsed("smtps:b.example:465").look_up_mx);
    CHECK_FALSE(parsed("[b.example]").look_up_mx);
    CHECK_FALSE(parsed("192.0.2.1").look_up_mx);
    CHECK_FALSE(parsed("lmtp:b.example").look_up_mx);
    CHECK_FALSE(parsed("lmtp:unix:/a").look_up_mx);
}

TEST_CASE("a hop has either a name, an address or a path") {
    CHECK(parsed("[B.example]:25").host == "b.example");
    CHECK_FALSE(parsed("[b.example]").address);
    CHECK(parsed("[192.0.2.1]:25").host.empty());
    REQUIRE(parsed("[192.0.2.1]:25").address);
    CHECK(parsed("[192.0.2.1]:25").address->text() == "192.0.2.1");
    CHECK(parsed("[192.0.2.1]:25").port == 25);
    CHECK(parsed("b.example").port == 0);
    CHECK(parsed("lmtp:unix:/a").socket_path == "/a");
    CHECK(parsed("lmtp:unix:/a").host.empty());
    CHECK(parsed("lmtp:unix:/a").protocol == protocol::lmtp);
    CHECK(parsed("smtps:b.example").protocol == protocol::smtps);
    CHECK(parsed("b.example").protocol == protocol::smtp);
}

TEST_CASE("an MTA's route part has no prefixes") {
    std::string error;
    CHECK(parse_host_port("b.example:587", error) == parsed("b.example:587"));
    CHECK(parse_host_port("[b.example]", error) == parsed("[b.example]"));
    CHECK_FALSE(parse_host_port("lmtp:unix:/a", error));
    CHECK_FALSE(parse_host_port("smtp:b.example", error));
}

}  // namespace callforward::smtpclient
