#include "smtpclient/connection.h"

#include "tests/support/certificates.h"
#include "tests/support/stream.h"

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <array>
#include <future>
#include <thread>

using namespace callforward::smtpclient;
using namespace callforward::testing;
using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

namespace {

// A connection whose other end is in the test's hands: what that wrote has arrived.
struct pair_of_ends {
    pair_of_ends() {
        std::array<int, 2> ends{};
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) ==
                0);
        peer.emplace(unique_fd(ends[1]));
        peer->expires_after(30s);
        stream_socket socket(loop, asio::generic::stream_protocol(AF_UNIX, 0), ends[0]);
        near.emplace(std::move(socket), trace{}, nullptr);
    }
    template <class T>
    T run(asio::awaitable<T> operation) {
        std::optional<T> got;
        asio::co_spawn(loop, std::move(operation), [&](const std::exception_ptr& e, T value) {
            if (e) std::rethrow_exception(e);
            got = std::move(value);
        });
        loop.restart();
        // Not to its end: the timer of a deadline that was met holds it up for what is left of it.
        while (!got && loop.run_one() > 0) {
        }
        REQUIRE(got);
        return std::move(*got);
    }
    std::string reply_within(std::chrono::milliseconds time) {
        const auto got = run(near->read_reply(steady::now() + time));
        if (const auto* failed = std::get_if<io_failure>(&got)) {
            return std::string(to_string(failed->reason));
        }
        const auto& r = std::get<reply>(got);
        return std::to_string(r.code) + ' ' + r.lines.front();
    }
    void secure() {
        const auto context = server_context(certificate_authority().issue("mx.next.test"));
        std::thread server([&] { CHECK(peer->accept_tls(context.get()) == stream_status::ok); });
        tls_setup how{std::make_shared<const tls_context>(tls_policy{}), {}, nullptr};
        how.demand.server_name = "mx.next.test";
        const auto failed = run(near->handshake(std::move(how), steady::now() + 30s));
        server.join();
        CHECK_FALSE(failed);
    }

    asio::io_context loop{1};
    std::optional<stream> peer;
    std::optional<connection> near;
};

}  // namespace

TEST_CASE("bytes in the segment of a reply are seen behind it") {
    pair_of_ends ends;
    CHECK(ends.peer->write("250 ok\r\n250 stray\r\n") == stream_status::ok);
    CHECK(ends.reply_within(30s) == "250 ok");
    CHECK(ends.near->has_unread());
}

TEST_CASE("bytes that came in a segment of their own are seen, too") {
    pair_of_ends ends;
    CHECK(ends.peer->write("250 ok\r\n") == stream_status::ok);
    CHECK(ends.reply_within(30s) == "250 ok");
    CHECK_FALSE(ends.near->has_unread());
    CHECK(ends.peer->write("250 stray\r\n") == stream_status::ok);
    CHECK(ends.near->has_unread());
}

TEST_CASE("under TLS a second reply in the same record is seen") {
    pair_of_ends ends;
    ends.secure();
    CHECK(ends.peer->write("250 ok\r\n250 stray\r\n") == stream_status::ok);
    CHECK(ends.reply_within(30s) == "250 ok");
    CHECK(ends.near->has_unread());
}

TEST_CASE("under TLS a second reply in a record of its own is seen, and session tickets are not") {
    pair_of_ends ends;
    ends.secure();
    CHECK(ends.peer->write("250 ok\r\n") == stream_status::ok);
    CHECK(ends.reply_within(30s) == "250 ok");
    CHECK_FALSE(ends.near->has_unread());
    CHECK(ends.peer->write("250 next\r\n") == stream_status::ok);
    CHECK(ends.peer->write("250 stray\r\n") == stream_status::ok);
    CHECK(ends.reply_within(30s) == "250 next");
    CHECK(ends.near->has_unread());
    // Seen is not lost.
    CHECK(ends.reply_within(30s) == "250 stray");
    CHECK_FALSE(ends.near->has_unread());
}

TEST_CASE("the end of a connection is no unread byte") {
    pair_of_ends ends;
    CHECK(ends.peer->write("250 ok\r\n") == stream_status::ok);
    ends.peer->close();
    CHECK(ends.reply_within(30s) == "250 ok");
    CHECK_FALSE(ends.near->has_unread());
    CHECK(ends.reply_within(30s) == "disconnected");
}

TEST_CASE("a reply that does not come ends by the deadline") {
    pair_of_ends ends;
    CHECK(ends.peer->write("250-begun\r\n250") == stream_status::ok);
    const auto begin = steady::now();
    CHECK(ends.reply_within(100ms) == "timed_out");
    CHECK(steady::now() - begin < 10s);
}

TEST_CASE("a write that nobody reads ends by the deadline") {
    pair_of_ends ends;
    const auto begin = steady::now();
    const auto failed =
        ends.run(ends.near->write(std::string(8 * 1024 * 1024, 'x'), steady::now() + 100ms));
    REQUIRE(failed);
    CHECK(failed->reason == reason::timed_out);
    CHECK(steady::now() - begin < 10s);
}

TEST_CASE("what cannot be written at once is left to a write, which goes on behind it") {
    pair_of_ends ends;
    std::string all;
    for (int i = 0; all.size() < std::size_t{2} * 1024 * 1024; ++i) {
        all += "RCPT TO:<" + std::to_string(i) + "@a.test>\r\n";
    }
    const std::size_t at_once = ends.near->write_now(all);
    CHECK(at_once > 0);
    REQUIRE(at_once < all.size());
    CHECK(ends.near->write_now(all.substr(at_once)) == 0);
    std::string arrived;
    std::thread reader([&] { CHECK(ends.peer->read(all.size(), arrived) == stream_status::ok); });
    const auto failed = ends.run(ends.near->write(all.substr(at_once), steady::now() + 30s));
    reader.join();
    CHECK_FALSE(failed);
    CHECK(arrived == all);
}

TEST_CASE("nothing is written at once under TLS, nor when the connection has ended") {
    pair_of_ends secured;
    secured.secure();
    CHECK(secured.near->write_now("RSET\r\n") == 0);
    pair_of_ends ended;
    ended.peer->close();
    CHECK(ended.near->write_now("RSET\r\n") == 0);
    pair_of_ends closed;
    closed.near->close();
    CHECK(closed.near->write_now("RSET\r\n") == 0);
}

TEST_CASE("a line of many megabytes is given up after 64 KiB") {
    pair_of_ends ends;
    std::thread server([&] {
        const std::string much(64 * 1024, 'x');
        static_cast<void>(ends.peer->write("250 "));
        for (int i = 0; i < 64; ++i) {
            if (ends.peer->write(much) != stream_status::ok) return;
        }
    });
    CHECK(ends.reply_within(30s) == "protocol_error");
    ends.near.reset();
    server.join();
}
