#include "milter/fleet/store_address.h"

#include <doctest/doctest.h>

using namespace callforward::milter::fleet;

namespace {

store_address good(std::string_view text) {
    store_address at;
    CHECK_MESSAGE(parse_store_address(text, at).empty(), text);
    return at;
}

bool is_wrong(std::string_view text) {
    store_address at;
    return !parse_store_address(text, at).empty();
}

}  // namespace

TEST_CASE("a server is a host, a port and a database") {
    CHECK(good("redis://cache.example").hosts == std::vector<store_host>{{"cache.example", 6379}});
    CHECK(good("redis://10.0.0.1:7000/3").hosts == std::vector<store_host>{{"10.0.0.1", 7000}});
    CHECK(good("redis://10.0.0.1:7000/3").database == 3);
    CHECK(good("redis://[2001:db8::1]:7000").hosts.front().text() == "[2001:db8::1]:7000");
    CHECK_FALSE(good("redis://cache.example").tls);
    CHECK(good("rediss://cache.example").tls);
    CHECK(good("redis://cache.example").prefix == "callforward:");
    CHECK(good("redis://cache.example/?prefix=mx:").prefix == "mx:");
}

TEST_CASE("a socket of this machine is a path") {
    const auto at = good("redis+unix:/run/redis/redis.sock?db=2&prefix=a:");
    CHECK(at.socket_path == "/run/redis/redis.sock");
    CHECK(at.database == 2);
    CHECK(at.prefix == "a:");
    CHECK(at.hosts.empty());
}

TEST_CASE("sentinels are named with the master they watch") {
    const auto at = good("redis+sentinel://10.0.0.1,10.0.0.2:5000/mymaster/1");
    CHECK(at.hosts == std::vector<store_host>{{"10.0.0.1", 26379}, {"10.0.0.2", 5000}});
    CHECK(at.master == "mymaster");
    CHECK(at.database == 1);
    CHECK(good("rediss+sentinel://s.example/m").tls);
}

TEST_CASE("TLS may have files of its own") {
    const auto at = good("rediss://h.example?ca_file=/ca.pem&cert_file=/c.pem&key_file=/k.pem");
    CHECK(at.ca_file == "/ca.pem");
    CHECK(at.cert_file == "/c.pem");
    CHECK(at.key_file == "/k.pem");
}

TEST_CASE("what is no address of a store is refused") {
    for (const auto* const text : {"redis:",
                                   "redis://",
                                   "redis://:6379",
                                   "redis://h:0",
                                   "redis://h:65536",
                                   "redis://h:12x",
                                   "redis://h/x",
                                   "redis://h/-1",
                                   "redis://h/99999999",
                                   "redis://user:password@h",
                                   "redis://h e",
                                   "redis://[2001:db8::1",
                                   "redis://h?prefix=",
                                   "redis://h?prefix={a}",
                                   "redis://h?unknown=1",
                                   "redis://h?ca_file=/ca.pem",
                                   "rediss://h?cert_file=/c.pem",
                                   "rediss://h?ca_file=ca.pem",
                                   "redis+unix:redis.sock",
                                   "redis+unix:",
                                   "redis+sentinel://",
                                   "redis+sentinel://h",
                                   "redis+sentinel:///m",
                                   "redis+other://h",
                                   "lmdb:/x"}) {
        CHECK_MESSAGE(is_wrong(text), text);
    }
}
