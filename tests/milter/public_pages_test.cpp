// What is told about the daemon: /healthz, and the status.
#include "milter/control/public_pages.h"

#include "milter/log.h"
#include "tests/milter/played_next_hop.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <future>
#include <thread>

using namespace callforward;
using namespace callforward::milter::control;
using namespace std::chrono_literals;
using tests::played_next_hop;

namespace {

struct daemon_parts {
    explicit daemon_parts(const milter::settings& s) : asking(s, 2) {}

    [[nodiscard]] watched seen() { return {asking, past, run}; }
    [[nodiscard]] http_response page(const std::string& path) {
        http_request r;
        r.method = "GET";
        r.path = path;
        return public_pages(seen(), false).answer(r);
    }

    milter::engine asking;
    history past{asking.seen().counts, history::clock::now()};
    run_state run{"1", "x.toml", std::make_shared<const milter::settings>(test_settings())};

    static milter::settings test_settings() {
        milter::log_settings quiet;
        quiet.level = milter::log_level::error;
        milter::log::open(quiet);
        return tests::in_memory_settings();
    }
};

}  // namespace

TEST_CASE("healthz is ok while every event loop turns, and says so when one does not") {
    const played_next_hop hop("rcpt * 250 2.1.5 ok\n");
    std::promise<void> stuck;
    std::promise<void> free;
    daemon_parts d(daemon_parts::test_settings());
    CHECK(d.page("/healthz").status == 200);
    CHECK(d.page("/healthz").body == "ok\n");

    smtpclient::question q;
    q.recipient = smtpclient::mailbox::parse("u@a.test").value();
    std::string error;
    q.to.hops = {smtpclient::parse_next_hop(hop.route(), error).value()};
    q.by = std::make_shared<smtpclient::transport>();
    q.trace = [&, first = true](char, std::string_view) mutable {
        if (!std::exchange(first, false)) return;
        stuck.set_value();  // what follows keeps the event loop from turning
        free.get_future().wait();
    };
    std::thread asks([&] { CHECK(d.asking.ask_alone(q, 30s) != nullptr); });
    stuck.get_future().wait();
    const auto begin = std::chrono::steady_clock::now();
    const http_response hung = d.page("/healthz");
    CHECK(hung.status == 503);
    CHECK(hung.body == "an event loop does not answer\n");
    CHECK(std::chrono::steady_clock::now() - begin < 10s);
    free.set_value();
    asks.join();
    CHECK(d.page("/healthz").status == 200);
}

TEST_CASE("the status names the store that is in use, whatever a reload asks for") {
    daemon_parts d(daemon_parts::test_settings());
    auto other = daemon_parts::test_settings();
    other.cache.store = "redis://192.0.2.1:6379/0";
    d.run.reloaded("x.toml", std::make_shared<const milter::settings>(other));
    CHECK(status_of(d.seen()).at("cache").at("store") == "memory");
}
