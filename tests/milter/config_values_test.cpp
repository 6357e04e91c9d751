#include "milter/config_values.h"

#include <doctest/doctest.h>

#include <array>

using namespace callforward::milter;

TEST_CASE("a duration is one number with a unit") {
    struct row {
        std::string_view text;
        std::int64_t count;
    };
    for (const row& r : {row{"500ms", 500},
                         row{"8s", 8000},
                         row{"10m", 600'000},
                         row{"24h", 86'400'000},
                         row{"7d", 604'800'000},
                         row{"0s", 0},
                         row{"007s", 7000},
                         row{"36500d", 3'153'600'000'000}}) {
        CAPTURE(r.text);
        REQUIRE(parse_duration(r.text));
        CHECK(parse_duration(r.text)->count() == r.count);
    }
    for (const std::string_view text : {"",
                                        "5",
                                        "s",
                                        "-1s",
                                        "+1s",
                                        "1.5s",
                                        "1e3s",
                                        "1 s",
                                        " 1s",
                                        "1s ",
                                        "1S",
                                        "1min",
                                        "1h30m",
                                        "36501d",
                                        "9223372036854775808ms",
                                        "99999999999999999999d"}) {
        CAPTURE(text);
        CHECK(!parse_duration(text));
    }
}

TEST_CASE("a duration is shown as operators write it, and parses to itself") {
    for (const char* text : {"0s",
                             "1ms",
                             "500ms",
                             "1500ms",
                             "1s",
                             "60s",
                             "90s",
                             "2m",
                             "10m",
                             "60m",
                             "2h",
                             "24h",
                             "36h",
                             "2d",
                             "7d"}) {
        CAPTURE(text);
        CHECK(format_duration(parse_duration(text).value()) == text);
    }
    CHECK(format_duration(parse_duration("1d").value()) == "24h");
}

TEST_CASE(
    "the nearest name is the one with the fewest changes, neighbours exchanged counted once") {
    constexpr std::array<std::string_view, 5> names{"timeout", "tls", "tls_min", "port", "mode"};
    struct row {
        std::string_view written;
        std::string_view nearest;
    };
    for (const row& r : {row{"tiemout", "timeout"},
                         row{"time_out", "timeout"},
                         row{"tsl", "tls"},
                         row{"tlsmin", "tls_min"},
                         row{"prt", "port"},
                         row{"modes", "mode"},
                         row{"mode", "mode"},
                         row{"", "tls"}}) {
        CAPTURE(r.written);
        CHECK(nearest_name(r.written, names) == r.nearest);
    }
    CHECK(!nearest_name(std::string(100'000, 'x'), names).empty());
}

TEST_CASE("sockets are written as for libmilter, or inherited by number") {
    for (const char* good : {"unix:/run/x.sock",
                             "local:/x",
                             "inet:8891@127.0.0.1",
                             "inet:0@localhost",
                             "inet6:8891@::1",
                             "inet6:8891@[::1]",
                             "inet:8891@[127.0.0.1]",
                             "fd:3"}) {
        CAPTURE(good);
        CHECK(check_socket(good).empty());
    }
    CHECK(check_socket("inet:8891") ==
          "names no address: write \"inet:8891@127.0.0.1\", or @0.0.0.0 for all");
}

TEST_CASE("DNS servers get their port and brackets") {
    const auto canonical = [](std::string text) {
        return check_dns_server(text).empty() ? text : "wrong";
    };
    CHECK(canonical("192.0.2.1") == "192.0.2.1:53");
    CHECK(canonical("192.0.2.1:5353") == "192.0.2.1:5353");
    CHECK(canonical("2001:db8::1") == "[2001:db8::1]:53");
    CHECK(canonical("[2001:db8::1]") == "[2001:db8::1]:53");
    CHECK(canonical("::ffff:192.0.2.1") == "192.0.2.1:53");
    for (const char* bad :
         {"", ":53", "192.0.2.1:65536", "192.0.2.1:a", "[192.0.2.1", "ns.example"}) {
        CAPTURE(bad);
        CHECK(canonical(bad) == "wrong");
    }
}
