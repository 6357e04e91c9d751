// Stores that are none, or none to use: whoever asks is told so at once, and the link comes back.
#include "milter/fleet/redis_connection.h"
#include "tests/milter/fleet/played_store.h"

#include <asio/co_spawn.hpp>
#include <asio/dispatch.hpp>
#include <asio/io_context.hpp>
#include <doctest/doctest.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <new>

using namespace callforward;
using namespace std::chrono_literals;
using milter::fleet::question_names;
using milter::fleet::store_options;
using milter::fleet::trouble;
using tests::edge_loop;
using tests::pretended_server;
using manner = tests::pretended_server::manner;

namespace {

using clock = std::chrono::steady_clock;

// Tries again at once, and is patient with a server that the machine gives no time.
store_options eager() {
    store_options o;
    o.timeout = 30s;
    o.connect_within = 10s;
    o.first_pause = 5ms;
    o.longest_pause = 20ms;
    o.between_beats = 20ms;
    o.stalled_after = 60s;
    return o;
}

store_options hurried() {
    store_options o = eager();
    o.connect_within = 200ms;
    return o;
}

question_names names_in(edge_loop& edge) {
    smtpclient::question q;
    q.recipient = smtpclient::mailbox::parse("u@a.test").value();
    q.to.recipient_mx = true;
    return edge.store().names_of(q, "policy");
}

bool finds_nothing_at_once(edge_loop& edge) {
    const auto names = names_in(edge);
    const auto begin = std::chrono::steady_clock::now();
    const auto found = edge.get(edge.store().find(names));
    return !found && std::chrono::steady_clock::now() - begin < 10s;
}

std::string errors(std::string_view error) {
    std::string all;
    for (int i = 0; i < 20; ++i) all += '-' + std::string(error) + "\r\n";
    return all;
}

}  // namespace

TEST_CASE("what is no Redis is not used, whatever it says") {
    struct row {
        std::string says;
        manner how;
        trouble state;
    };
    for (const row& r : {
             row{"220 mx.example ESMTP\r\n", manner::says_once, trouble::foreign},
             row{"HTTP/1.1 400 Bad Request\r\n\r\n", manner::says_once, trouble::foreign},
             row{"*1000000000\r\n", manner::says_once, trouble::foreign},
             row{std::string(70000, 'x'), manner::says_endlessly, trouble::foreign},
             row{"+OK\r\n+OK\r\n", manner::says_endlessly, trouble::foreign},
             row{"$1000000\r\n" + std::string(60000, 'x'),
                 manner::says_endlessly,
                 trouble::foreign},
             row{"+", manner::says_once, trouble::unreachable},
             row{"", manner::is_silent, trouble::unreachable},
             row{"", manner::closes, trouble::unreachable},
             row{errors("NOAUTH Authentication required."), manner::says_once, trouble::refused},
             row{errors("WRONGPASS invalid"), manner::says_once, trouble::refused},
             row{errors("NOPERM this user has no permissions"),
                 manner::says_once,
                 trouble::refused},
             row{errors("LOADING Redis is loading"), manner::says_once, trouble::unreachable},
             row{errors("MOVED 1 10.0.0.1:1"), manner::says_once, trouble::unreachable},
         }) {
        CAPTURE(r.says.substr(0, 40));
        const pretended_server server(r.says, r.how);
        edge_loop edge(server.path(), hurried());
        CHECK(edge.becomes(r.state));
        CHECK_FALSE(edge.why().empty());
        CHECK_FALSE(edge.store().is_usable());
        CHECK(finds_nothing_at_once(edge));
        // And it goes on trying.
        const int before = server.connections();
        CHECK(edge.within(30s, [&] { return server.connections() > before; }));
    }
}

TEST_CASE("why a server has turned a connection away is told, whoever notices its end first") {
    const testing::temporary_folder folder;
    const auto listener = testing::listen_on("unix:" + folder.file("store"));
    asio::io_context loop{1};
    const auto connection =
        std::make_shared<milter::fleet::redis_connection>(loop.get_executor(), nullptr);
    std::optional<std::string> opened;
    asio::co_spawn(loop,
                   connection->open({}, folder.file("store"), clock::now() + 60s),
                   [&](const std::exception_ptr&, std::string why) { opened = std::move(why); });
    while (!opened && loop.run_one() > 0) {
    }
    REQUIRE(opened == "");
    {
        const auto server = testing::accept_from(listener);
        const std::string_view says = "-ERR max number of clients reached\r\n";
        REQUIRE(::write(server.get(), says.data(), says.size()) == std::ssize(says));
    }
    bool told = false;
    // Written before anything is read: the write fails, and both replies will never come.
    asio::dispatch(loop, [&] {
        connection->submit("ANYTHING", 2, clock::now() + 60s, [&](const auto& got) {
            CHECK_FALSE(got.has_value());
            told = true;
        });
    });
    loop.run();
    CHECK(told);
    CHECK(connection->why() == "ERR max number of clients reached");
}

TEST_CASE("a password that is refused is said to be, and a right one is used") {
    const tests::redis_server redis({"--requirepass", "secret"});
    {
        edge_loop edge(redis.path(), eager());
        CHECK(edge.becomes(trouble::refused));
    }
    store_options o = eager();
    o.password = "wrong";
    {
        edge_loop edge(redis.path(), o);
        CHECK(edge.becomes(trouble::refused));
    }
    o.password = "secret";
    edge_loop edge(redis.path(), o);
    CHECK(edge.becomes(trouble::none));
}

TEST_CASE("a user of an access list is used with what it may") {
    const tests::redis_server redis;
    CHECK(
        redis.ask(
            {"ACL", "SETUSER", "edge", "on", ">pw", "~callforward:*", "&callforward:*", "+@all"}) ==
        "OK");
    store_options o = eager();
    o.user = "edge";
    o.password = "pw";
    edge_loop edge(redis.path(), o);
    CHECK(edge.becomes(trouble::none));
    CHECK(edge.get(edge.store().find(names_in(edge))).has_value());
}

TEST_CASE("a server that comes later, or again, is found by itself") {
    auto redis = std::make_unique<tests::redis_server>();
    edge_loop edge(redis->path(), eager());
    CHECK(edge.becomes(trouble::none));
    redis->kill();
    CHECK(edge.becomes(trouble::unreachable));
    CHECK(finds_nothing_at_once(edge));
    redis->start();
    CHECK(edge.becomes(trouble::none));
    CHECK(edge.get(edge.store().find(names_in(edge))).has_value());
}

TEST_CASE("a stalled server costs one wait for the timeout, and then nobody waits") {
    tests::redis_server redis;
    store_options o = eager();
    o.timeout = 300ms;
    o.stalled_after = 2s;
    edge_loop edge(redis.path(), o);
    REQUIRE(edge.becomes(trouble::none));
    redis.send_signal(SIGSTOP);
    const auto found = edge.get(edge.store().find(names_in(edge)));
    CHECK_FALSE(found.has_value());
    CHECK(edge.becomes(trouble::slow));  // not given up yet
    CHECK_FALSE(edge.store().is_usable());
    CHECK(edge.becomes(trouble::unreachable));  // given up, and connected to anew
    redis.send_signal(SIGCONT);
    CHECK(edge.becomes(trouble::none));
}

TEST_CASE("a server that only reads is read from, and one that is full, too") {
    const tests::redis_server redis;
    edge_loop edge(redis.path(), eager());
    REQUIRE(edge.becomes(trouble::none));
    CHECK(redis.ask({"CONFIG", "SET", "maxmemory", "1"}) == "OK");
    CHECK_FALSE(edge.get(edge.store().try_lease(names_in(edge))).has_value());
    CHECK(edge.becomes(trouble::full));
    CHECK(edge.get(edge.store().find(names_in(edge))).has_value());
    CHECK(redis.ask({"CONFIG", "SET", "maxmemory", "0"}) == "OK");
    CHECK(edge.becomes(trouble::none));
    CHECK(redis.ask({"REPLICAOF", "127.0.0.1", "1"}) == "OK");
    CHECK(edge.becomes(trouble::read_only));
    CHECK(redis.ask({"REPLICAOF", "NO", "ONE"}) == "OK");
    CHECK(edge.becomes(trouble::none));
}

TEST_CASE("for want of memory a link connects anew") {
    const tests::redis_server redis;
    asio::io_context loop{1};
    auto options = std::make_shared<store_options>(eager());
    options->at.socket_path = redis.path();
    int good = 0;
    int bad = 0;
    const auto report = [&](trouble t, const std::string& why) {
        if (t != trouble::none) {
            ++bad;
            CHECK(why == "no memory");
        }
        if ((t == trouble::none ? ++good : bad) <= 2) throw std::bad_alloc();
    };
    const auto link =
        std::make_shared<milter::fleet::redis_link>(loop.get_executor(), options, nullptr, report);
    link->start();
    const auto limit = clock::now() + 60s;
    while (good < 3 && clock::now() < limit) loop.run_one_for(10ms);
    CHECK(good == 3);
    CHECK(bad == 2);
    CHECK(link->is_usable());
    link->stop();
}
