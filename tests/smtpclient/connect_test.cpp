#include "smtpclient/connect.h"

#include "tests/smtpclient/misbehaving_server.h"
#include "tests/support/temporary_folder.h"

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <doctest/doctest.h>

using namespace callforward;
using namespace callforward::smtpclient;
using namespace callforward::testing;
using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

namespace {

dns::ip_address ip(std::string_view text) {
    return dns::ip_address::parse(text).value();
}

endpoint at(std::string_view address, std::uint16_t port) {
    return {ip(address), port, {}};
}

// A port of the address where nothing listens.
std::uint16_t closed_port(const std::string& address) {
    return local_port(listen_on(address + ":0"));
}

struct attempt {
    connected result;
    steady::duration took{};

    attempt(std::vector<endpoint> candidates,
            std::chrono::milliseconds patience,
            std::chrono::milliseconds all) {
        asio::io_context loop(1);
        const auto begin = steady::now();
        auto race = connect_any(std::move(candidates), patience, begin + all);
        asio::co_spawn(loop, std::move(race), [&](const std::exception_ptr& e, connected c) {
            if (e) std::rethrow_exception(e);
            took = steady::now() - begin;
            connects = c.socket.has_value();
            c.socket.reset();  // belongs to the loop
            result = std::move(c);
        });
        loop.run();
    }
    bool connects = false;
};

}  // namespace

TEST_CASE("families alternate, the first address' family first") {
    CHECK(interleave({}).empty());
    CHECK(interleave({ip("192.0.2.1"), ip("192.0.2.2"), ip("2001:db8::1")}) ==
          std::vector{ip("192.0.2.1"), ip("2001:db8::1"), ip("192.0.2.2")});
    CHECK(interleave({ip("2001:db8::1"), ip("192.0.2.1"), ip("2001:db8::2"), ip("192.0.2.2")}) ==
          std::vector{ip("2001:db8::1"), ip("192.0.2.1"), ip("2001:db8::2"), ip("192.0.2.2")});
}

TEST_CASE("an endpoint is written as in a log") {
    CHECK(at("192.0.2.1", 25).text() == "192.0.2.1:25");
    CHECK(at("2001:db8::1", 24).text() == "[2001:db8::1]:24");
    CHECK(endpoint{std::nullopt, 0, "/run/lmtp"}.text() == "/run/lmtp");
}

TEST_CASE("one address that listens is connected to") {
    const misbehaving_server server(hang_up);
    const attempt one({at("127.0.0.1", server.port())}, 5s, 5s);
    CHECK(one.connects);
    CHECK(one.result.which == 0);
    CHECK(one.result.failed.empty());
}

TEST_CASE("one address that refuses fails at once, and says why") {
    const attempt one({at("127.0.0.1", closed_port("127.0.0.1"))}, 5s, 5s);
    CHECK_FALSE(one.connects);
    CHECK_FALSE(one.result.timed_out);
    CHECK(one.result.why.ends_with("Connection refused"));
    CHECK(one.took < 1s);
}

TEST_CASE("a socket that is not there, or is not one, fails at once") {
    const temporary_folder folder;
    const attempt missing({endpoint{std::nullopt, 0, folder.file("none")}}, 5s, 5s);
    CHECK_FALSE(missing.connects);
    CHECK(missing.result.why.ends_with("No such file or directory"));
    const attempt no_socket({endpoint{std::nullopt, 0, "/"}}, 5s, 5s);
    CHECK_FALSE(no_socket.connects);
}

TEST_CASE("an address that does not answer has its patience and no more") {
    const black_hole hole;
    const attempt one({at("127.0.0.1", hole.port())}, 150ms, 5s);
    CHECK_FALSE(one.connects);
    CHECK(one.result.timed_out);
    CHECK(one.took >= 150ms);
    CHECK(one.took < 400ms);
    CHECK(one.result.why.ends_with("no answer in time"));
}

TEST_CASE("the deadline ends a race, however patient it is") {
    const black_hole hole;
    const attempt one({at("127.0.0.1", hole.port()), at("127.0.0.1", hole.port())}, 5s, 300ms);
    CHECK_FALSE(one.connects);
    CHECK(one.result.timed_out);
    CHECK(one.took < 550ms);
}

TEST_CASE("IPv4 wins where IPv6 refuses, at once") {
    const misbehaving_server server(hang_up);
    const attempt one({at("::1", closed_port("[::1]")), at("127.0.0.1", server.port())}, 5s, 5s);
    CHECK(one.connects);
    CHECK(one.result.which == 1);
    CHECK(one.result.failed == std::vector<std::size_t>{0});
    CHECK(one.took < 200ms);
}

TEST_CASE("IPv4 wins where IPv6 does not answer, after the head start") {
    const black_hole hole("[::1]:0");
    const misbehaving_server server(hang_up);
    const attempt one({at("::1", hole.port()), at("127.0.0.1", server.port())}, 5s, 5s);
    CHECK(one.connects);
    CHECK(one.result.which == 1);
    CHECK(one.took >= 250ms);
    CHECK(one.took < 1s);
}

TEST_CASE("with less patience than the head start the next address has its turn, too") {
    const black_hole hole;
    const misbehaving_server server(hang_up);
    const attempt one({at("127.0.0.1", hole.port()), at("127.0.0.1", server.port())}, 50ms, 5s);
    CHECK(one.connects);
    CHECK(one.result.which == 1);
}

TEST_CASE("a refusal starts the next address, though an earlier one is still running") {
    const black_hole hole;
    const misbehaving_server server(hang_up);
    const attempt one({at("127.0.0.1", hole.port()),
                       at("127.0.0.1", closed_port("127.0.0.1")),
                       at("127.0.0.1", server.port())},
                      5s,
                      5s);
    CHECK(one.connects);
    CHECK(one.result.which == 2);
    CHECK(one.took < 450ms);  // one head start, not two
}
