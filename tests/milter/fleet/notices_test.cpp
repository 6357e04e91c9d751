#include "milter/fleet/notices.h"

#include "tests/milter/fleet/played_store.h"

#include <asio/io_context.hpp>
#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <new>
#include <string>

using namespace callforward::milter::fleet;
using namespace std::chrono_literals;

TEST_CASE("a notice is read as it was written") {
    const notice n{notice::kind::closed, "edge1", 30, "example.com"};
    const auto read = parse_notice(to_text(n));
    REQUIRE(read);
    CHECK(read->what == n.what);
    CHECK(read->edge == n.edge);
    CHECK(read->seconds == 30);
    CHECK(read->name == n.name);
    const auto quoted = parse_notice(to_text({notice::kind::forget, "e", 0, "\"a b\"@x.test"}));
    REQUIRE(quoted);
    CHECK(quoted->name == "\"a b\"@x.test");
}

TEST_CASE("what is no notice is passed over") {
    for (const std::string& text : {std::string(),
                                    std::string("1"),
                                    std::string("1 e"),
                                    std::string("1 e forget"),
                                    std::string("1 e forget x a@b.test"),
                                    std::string("1 e forget -1 a@b.test"),
                                    std::string("1 e forget 99999999999 a@b.test"),
                                    std::string("1 e unheard_of 0 a@b.test"),
                                    std::string("2 e forget 0 a@b.test"),
                                    std::string("1  forget 0 a@b.test"),
                                    "1 " + std::string(100, 'e') + " forget 0 a@b.test",
                                    "1 e forget 0 " + std::string(5000, 'x')}) {
        CHECK_MESSAGE(!parse_notice(text), text);
    }
}

TEST_CASE("for want of memory notices are said to be lost, and subscribed to anew") {
    const callforward::tests::redis_server redis;
    asio::io_context loop{1};
    auto options = std::make_shared<store_options>();
    options->at.socket_path = redis.path();
    options->connect_within = 30s;  // the machine may be busy
    options->stalled_after = 60s;
    options->first_pause = 5ms;
    int heard = 0;
    int regained = 0;
    int lost = 0;
    notices::listener to;
    to.hear = [&](const notice&) {
        if (++heard == 1) throw std::bad_alloc();
    };
    to.regained = [&] {
        if (++regained == 1) throw std::bad_alloc();
    };
    to.lost = [&](steady_time) { ++lost; };
    const auto news = std::make_shared<notices>(loop.get_executor(), options, nullptr, to);
    news->start();
    const auto becomes = [&](const auto& is_so) {
        const auto limit = std::chrono::steady_clock::now() + 60s;
        while (!is_so() && std::chrono::steady_clock::now() < limit) loop.run_one_for(10ms);
        return is_so();
    };
    CHECK(becomes([&] { return regained == 2; }));
    CHECK(lost == 1);
    const std::string channel = notices::channel_of(*options);
    const std::string text = to_text({notice::kind::forget, "other", 0, "u@a.test"});
    CHECK(redis.ask({"PUBLISH", channel, text}) == "1");
    CHECK(becomes([&] { return heard == 1 && regained == 3; }));
    CHECK(lost == 2);
    CHECK(redis.ask({"PUBLISH", channel, text}) == "1");
    CHECK(becomes([&] { return heard == 2; }));
    CHECK(lost == 2);
    news->stop();
}
