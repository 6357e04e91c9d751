#include "smtpclient/connect.h"

#include "tests/smtpclient/misbehaving_server.h"
#include "tests/support/temporary_folder.h"

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <doctest/doctest.h>
#include <netdb.h>
#include <sys/socket.h>

#include <array>
#include <functional>
#include <thread>
#include <tuple>

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

std::string peer_address(int descriptor) {
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    if (::getpeername(descriptor, reinterpret_cast<sockaddr*>(&name), &size) != 0) return "?";
    std::array<char, NI_MAXHOST> host{};
    if (::getnameinfo(reinterpret_cast<const sockaddr*>(&name),
                      size,
                      host.data(),
                      host.size(),
                      nullptr,
                      0,
                      NI_NUMERICHOST) != 0) {
        return "?";
    }
    return host.data();
}

// On the slowest machine; the wrong way would take for_ever.
constexpr auto in_time = 10s;
constexpr auto for_ever = 60s;

bool eventually(const std::function<bool()>& it) {
    for (const auto end = steady::now() + 20s; !it();) {
        if (steady::now() > end) return false;
        std::this_thread::sleep_for(2ms);
    }
    return true;
}

struct attempt {
    connected result;
    steady::duration took{};

    attempt(std::vector<endpoint> candidates,
            std::chrono::milliseconds patience,
            std::chrono::milliseconds all,
            std::chrono::milliseconds head_start = attempt_delay) {
        asio::io_context loop(1);
        const auto begin = steady::now();
        auto race = connect_any(std::move(candidates), patience, begin + all, head_start);
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

TEST_CASE("a connection comes from the source address that was chosen") {
    for (const auto& [listen, to, source] : {std::tuple{"127.0.0.1:0", "127.0.0.1", "127.0.0.77"},
                                             std::tuple{"[::1]:0", "::1", "::1"}}) {
        CAPTURE(to);
        std::string came_from;
        std::uint16_t port = 0;
        {
            const misbehaving_server server(
                [&](stream& peer, const misbehaving_server::pause&) {
                    came_from = peer_address(peer.descriptor());
                },
                listen);
            port = server.port();
            endpoint e = at(to, port);
            e.from = ip(source);
            CHECK(attempt({e}, for_ever, for_ever).connects);
            CHECK(eventually([&] { return server.connections() == 1; }));
        }
        CHECK(came_from == source);
    }
}

TEST_CASE("a source address that this host does not have is a failure that names it") {
    endpoint e = at("127.0.0.1", closed_port("127.0.0.1"));
    e.from = ip("192.0.2.77");
    const attempt tried({e}, for_ever, for_ever);
    CHECK_FALSE(tried.connects);
    CHECK(tried.result.why ==
          "connect to " + e.text() + " from 192.0.2.77: Cannot assign requested address");
}

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
    const attempt one({at("127.0.0.1", server.port())}, for_ever, for_ever);
    CHECK(one.connects);
    CHECK(one.result.which == 0);
    CHECK(one.result.failed.empty());
}

TEST_CASE("one address that refuses fails at once, and says why") {
    const attempt one({at("127.0.0.1", closed_port("127.0.0.1"))}, for_ever, for_ever);
    CHECK_FALSE(one.connects);
    CHECK_FALSE(one.result.timed_out);
    CHECK(one.result.why.ends_with("Connection refused"));
    CHECK(one.took < in_time);
}

TEST_CASE("a socket that is not there, or is not one, fails at once") {
    const temporary_folder folder;
    const attempt missing({endpoint{std::nullopt, 0, folder.file("none")}}, for_ever, for_ever);
    CHECK_FALSE(missing.connects);
    CHECK(missing.result.why.ends_with("No such file or directory"));
    const attempt no_socket({endpoint{std::nullopt, 0, "/"}}, for_ever, for_ever);
    CHECK_FALSE(no_socket.connects);
}

TEST_CASE("an address that does not answer has its patience and no more") {
    const black_hole hole;
    const attempt one({at("127.0.0.1", hole.port())}, 150ms, for_ever);
    CHECK_FALSE(one.connects);
    CHECK(one.result.timed_out);
    CHECK(one.took >= 150ms);
    CHECK(one.took < in_time);
    CHECK(one.result.why.ends_with("no answer in time"));
}

TEST_CASE("the deadline ends a race, however patient it is") {
    const black_hole hole;
    const attempt one(
        {at("127.0.0.1", hole.port()), at("127.0.0.1", hole.port())}, for_ever, 300ms);
    CHECK_FALSE(one.connects);
    CHECK(one.result.timed_out);
    CHECK(one.took < in_time);
}

TEST_CASE("IPv4 wins where IPv6 refuses, at once") {
    const misbehaving_server server(hang_up);
    const attempt one({at("::1", closed_port("[::1]")), at("127.0.0.1", server.port())},
                      for_ever,
                      for_ever,
                      for_ever);
    CHECK(one.connects);
    CHECK(one.result.which == 1);
    CHECK(one.result.failed == std::vector<std::size_t>{0});
    CHECK(one.took < in_time);
}

TEST_CASE("who had less time than the winner is not late") {
    const black_hole hole;
    const misbehaving_server server(hang_up);
    // All begin at once: no head start.
    const attempt one({at("127.0.0.1", hole.port()),
                       at("127.0.0.1", server.port()),
                       at("127.0.0.1", hole.port())},
                      for_ever,
                      for_ever,
                      0ms);
    CHECK(one.connects);
    CHECK(one.result.which == 1);
    // Nor has it failed: it may be what serves where the winner does not.
    CHECK(one.result.failed == std::vector<std::size_t>{0});
}

TEST_CASE("IPv4 wins where IPv6 does not answer, after the head start") {
    const black_hole hole("[::1]:0");
    const misbehaving_server server(hang_up);
    const attempt one({at("::1", hole.port()), at("127.0.0.1", server.port())}, for_ever, for_ever);
    CHECK(one.connects);
    CHECK(one.result.which == 1);
    CHECK(one.took >= 250ms);
    CHECK(one.took < in_time);
}

TEST_CASE("with less patience than the head start the next address has its turn, too") {
    const black_hole hole;
    const misbehaving_server server(hang_up);
    const attempt one(
        {at("127.0.0.1", hole.port()), at("127.0.0.1", server.port())}, 500ms, for_ever, for_ever);
    CHECK(one.connects);
    CHECK(one.result.which == 1);
    CHECK(one.took < in_time);
}

TEST_CASE("a refusal starts the next address, though an earlier one is still running") {
    const black_hole hole;
    const misbehaving_server server(hang_up);
    const attempt one({at("127.0.0.1", hole.port()),
                       at("127.0.0.1", closed_port("127.0.0.1")),
                       at("127.0.0.1", server.port())},
                      for_ever,
                      for_ever,
                      6s);
    CHECK(one.connects);
    CHECK(one.result.which == 2);
    CHECK(one.took < 12s);  // one head start, not two
}
