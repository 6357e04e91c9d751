#include "milter/config_values.h"

#include "milter/config_names.h"

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

TEST_CASE("a name is suggested where little differs, neighbours exchanged counted once") {
    constexpr std::array<std::string_view, 6> names{
        "timeout", "tls", "tls_min", "port", "mode", "connections"};
    constexpr std::array<std::string_view, 3> actions{"reject", "tempfail", "accept"};
    constexpr std::array<std::string_view, 4> levels{"error", "warning", "info", "debug"};
    struct row {
        std::span<const std::string_view> names;
        std::string_view written;
        std::string_view meant;
    };
    for (const row& r : {row{names, "tiemout", "timeout"},
                         row{names, "time_out", "timeout"},
                         row{names, "tsl", "tls"},
                         row{names, "tlsmin", "tls_min"},
                         row{names, "prt", "port"},
                         row{names, "modes", "mode"},
                         row{names, "mode", "mode"},
                         row{names, "conn", "connections"},
                         row{names, "sockt", ""},
                         row{names, "", ""},
                         row{names, "t", ""},
                         row{actions, "defer", "tempfail"},
                         row{actions, "later", "tempfail"},
                         row{actions, "pass", "accept"},
                         row{actions, "ok", "accept"},
                         row{actions, "deny", "reject"},
                         row{actions, "rejct", "reject"},
                         row{actions, "quarantine", ""},
                         row{levels, "notice", "info"},
                         row{levels, "warn", "warning"},
                         row{levels, "all", ""}}) {
        CAPTURE(r.written);
        CHECK(name_meant(r.written, r.names) == r.meant);
    }
    CHECK(name_meant(std::string(100'000, 'x'), names).empty());
    CHECK(advice_about_name("tiemout", names) == "did you mean \"timeout\"?");
    CHECK(advice_about_name("all", levels) == "it is one of: error, warning, info, debug");
}

TEST_CASE("a key is known by the sections that have it") {
    CHECK(sections_with_key("mode") == "[policy]");
    CHECK(sections_with_key("socket") == "[control] or [milter]");
    CHECK(sections_with_key("pending") == "[limits]");
    CHECK(sections_with_key("flip_limit") == "[interlock]");
    CHECK(sections_with_key("sockt").empty());
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
