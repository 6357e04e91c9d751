#include "smtpclient/query_loop.h"

#include "tests/smtpclient/misbehaving_server.h"
#include "tests/smtpclient/script_question.h"
#include "tests/support/script_server.h"

#include <doctest/doctest.h>

#include <future>

using namespace callforward::smtpclient;
using namespace callforward::testing;
using namespace std::chrono_literals;

namespace {

query_options to_port(std::uint16_t port, const std::string& recipient) {
    query_options options;
    options.rcptto = recipient;
    options.host = "127.0.0.1";
    options.port = port;
    options.helo = "client.test";
    options.timeout = 10s;
    return options;
}

query_result ask(query_loop& loop, const query_options& options) {
    std::promise<query_result> promise;
    auto answer = promise.get_future();
    loop.start(prepare(options), [&](const std::exception_ptr& thrown, query_result result) {
        CHECK_FALSE(thrown);
        promise.set_value(std::move(result));
    });
    return answer.get();
}

const char* const two_recipients =
    "S: 220 hi\nC: EHLO client.test\nS: 250 hi\n"
    "C: MAIL *\nS: 250 ok\nC: RCPT TO:<bob@next.test>\nS: 250 ok\nC: RSET\nS: 250 ok\n"
    "C: MAIL *\nS: 250 ok\nC: RCPT TO:<eve@next.test>\nS: 550 5.1.1 no\n"
    "C: RSET\nS: 250 ok\n"
    "= undeliverable unknown_user rcpt\n";

}  // namespace

TEST_CASE("queries of one loop share a connection") {
    script_server server(parse_script(two_recipients, "two_recipients"));
    {
        query_loop loop({});
        CHECK(ask(loop, to_port(server.port(), "bob@next.test")).verdict.outcome() ==
              outcome::deliverable);
        CHECK(ask(loop, to_port(server.port(), "eve@next.test")).verdict.outcome() ==
              outcome::undeliverable);
    }
    server.stop();
    CHECK(server.connections() == 1);
}

TEST_CASE("a loop that ends gives up what is under way and does not call") {
    const misbehaving_server silent(drip("220 hi\r\n", "", 1ms));
    const auto witness = std::make_shared<int>(0);
    {
        query_loop loop({});
        for (int i = 0; i < 3; ++i) {
            loop.start(prepare(to_port(silent.port(), "bob@next.test")),
                       [witness](const std::exception_ptr&, const query_result&) { ++*witness; });
        }
        while (silent.connections() == 0) std::this_thread::yield();
        CHECK(witness.use_count() == 4);
    }
    CHECK(*witness == 0);
    CHECK(witness.use_count() == 1);
}

TEST_CASE("what is no mailbox is answered by a loop without asking") {
    query_loop loop({});
    const auto got = ask(loop, to_port(1, "bob"));
    CHECK(in_words(got.verdict.finding, got.verdict.stage) == "undeliverable bad_address none");
}

TEST_CASE("what can not be asked is thrown before there is anything to start") {
    auto options = to_port(1, "bob@next.test");
    options.mailfrom = "no address";
    CHECK_THROWS_AS(static_cast<void>(prepare(options)), std::invalid_argument);
}

TEST_CASE("a loop names a DNS server that it does not understand") {
    query_loop_options options;
    options.dns_servers = {"not an address"};
    CHECK_THROWS_AS(query_loop{options}, std::runtime_error);
}
