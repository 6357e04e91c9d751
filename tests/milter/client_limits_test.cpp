#include "milter/client_limits.h"

#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

using namespace callforward;
using namespace std::chrono_literals;
using milter::client_limits;
using milter::limits_settings;

namespace {

const client_limits::time_point start{1000h};

limits_settings at_most(std::size_t unknown, std::chrono::milliseconds window = 10min) {
    limits_settings s;
    s.unknown_per_client = unknown;
    s.unknown_window = window;
    return s;
}

dns::ip_address ip(std::string_view text) {
    return dns::ip_address::parse_literal(text).value();
}

void count(client_limits& c,
           std::string_view client,
           int times,
           const limits_settings& s,
           client_limits::time_point now = start) {
    for (int i = 0; i < times; ++i) c.count_unknown(ip(client), s, now);
}

std::string v6(int n) {
    return "IPv6:2001:db8:" + std::to_string(n % 10000) + ":" + std::to_string(n / 10000) + "::1";
}

}  // namespace

TEST_CASE("A client is beyond the limit once it has named so many unknown recipients") {
    client_limits c;
    const auto s = at_most(20);
    CHECK_FALSE(c.is_beyond(ip("192.0.2.1"), s, start));
    count(c, "192.0.2.1", 19, s);
    CHECK_FALSE(c.is_beyond(ip("192.0.2.1"), s, start));
    count(c, "192.0.2.1", 1, s);
    CHECK(c.is_beyond(ip("192.0.2.1"), s, start));
    CHECK_FALSE(c.is_beyond(ip("192.0.2.2"), s, start));
}

TEST_CASE("A client is an IPv4 address, however it is written, or an IPv6 /64") {
    client_limits c;
    const auto s = at_most(2);
    count(c, "192.0.2.1", 1, s);
    count(c, "::ffff:192.0.2.1", 1, s);
    CHECK(c.is_beyond(ip("192.0.2.1"), s, start));
    CHECK(c.is_beyond(ip("IPv6:::ffff:192.0.2.1"), s, start));
    count(c, "IPv6:2001:db8:1:2::1", 1, s);
    count(c, "2001:db8:1:2:ffff::9", 1, s);
    CHECK(c.is_beyond(ip("IPv6:2001:db8:1:2:3:4:5:6"), s, start));
    CHECK_FALSE(c.is_beyond(ip("IPv6:2001:db8:1:3::1"), s, start));
}

TEST_CASE("A limit or a window of 0 limits nobody and remembers nobody") {
    client_limits c;
    for (const auto& s : {at_most(0), at_most(1, 0ms)}) {
        count(c, "192.0.2.1", 100, s);
        CHECK_FALSE(c.is_beyond(ip("192.0.2.1"), s, start));
    }
    CHECK(c.size() == 0);
}

TEST_CASE("A client may come back when what it did lies behind") {
    client_limits c;
    const auto s = at_most(20);
    count(c, "192.0.2.1", 20, s);
    CHECK(c.is_beyond(ip("192.0.2.1"), s, start + 10min - 1ms));
    // In the second window the first one counts by the part that is left of it.
    CHECK(c.is_beyond(ip("192.0.2.1"), s, start + 10min));
    CHECK_FALSE(c.is_beyond(ip("192.0.2.1"), s, start + 11min));
    count(c, "192.0.2.1", 9, s, start + 15min);
    CHECK_FALSE(c.is_beyond(ip("192.0.2.1"), s, start + 15min));
    count(c, "192.0.2.1", 1, s, start + 15min);
    CHECK(c.is_beyond(ip("192.0.2.1"), s, start + 15min));
    CHECK_FALSE(c.is_beyond(ip("192.0.2.1"), s, start + 30min));
}

TEST_CASE("After a pause of two windows nothing is left") {
    client_limits c;
    const auto s = at_most(20);
    count(c, "192.0.2.1", 1000, s);
    CHECK_FALSE(c.is_beyond(ip("192.0.2.1"), s, start + 20min));
    count(c, "192.0.2.1", 19, s, start + 24h);
    CHECK_FALSE(c.is_beyond(ip("192.0.2.1"), s, start + 24h + 9min));
    count(c, "192.0.2.1", 1, s, start + 24h + 9min);
    CHECK(c.is_beyond(ip("192.0.2.1"), s, start + 24h + 9min));
}

TEST_CASE("A slow harvester is not let through at the turn of a window") {
    client_limits c;
    const auto s = at_most(20);
    std::size_t let_through = 0;
    for (int second = 0; second < 6000; ++second) {
        const auto now = start + second * 1s;
        if (c.is_beyond(ip("192.0.2.1"), s, now)) continue;
        ++let_through;
        c.count_unknown(ip("192.0.2.1"), s, now);
    }
    // 100 minutes are 10 windows.
    CHECK(let_through >= 20);
    CHECK(let_through <= 220);
}

TEST_CASE("Clients are forgotten, the oldest first, before they are too many") {
    client_limits c(160);
    const auto s = at_most(1);
    for (int i = 0; i < 20000; ++i) c.count_unknown(ip(v6(i)), s, start);
    CHECK(c.size() <= 160);
    CHECK(c.size() >= 100);
    CHECK(c.is_beyond(ip(v6(19999)), s, start));
    CHECK_FALSE(c.is_beyond(ip(v6(0)), s, start));
}

TEST_CASE("Many threads count without losing one") {
    client_limits c;
    const auto s = at_most(4000);
    std::atomic<int> beyond = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 1000; ++i) {
                if (c.is_beyond(ip("192.0.2.1"), s, start)) ++beyond;
                c.count_unknown(ip("192.0.2.1"), s, start);
                c.count_unknown(ip(v6(t * 1000 + i)), s, start);
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(beyond == 0);
    CHECK(c.is_beyond(ip("192.0.2.1"), s, start));
    CHECK(c.size() == 4001);
}
