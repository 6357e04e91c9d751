// What an operator changes on one edge reaches the store and the others, or is said not to.
#include "milter/fleet/edge.h"

#include "tests/milter/fleet/played_store.h"

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <doctest/doctest.h>

#include <functional>
#include <mutex>
#include <thread>

using namespace callforward;
using namespace std::chrono_literals;
using milter::fleet::edge;
using milter::fleet::store_options;
using milter::fleet::trouble;
using milter::verdicts::moment;

namespace {

bool soon(const std::function<bool()>& is_so) {
    const auto limit = std::chrono::steady_clock::now() + 40s;
    while (!is_so()) {
        if (std::chrono::steady_clock::now() > limit) return false;
        std::this_thread::sleep_for(1ms);
    }
    return true;
}

smtpclient::mailbox mailbox_of(const std::string& rcpt) {
    return smtpclient::mailbox::parse(rcpt).value();
}

std::vector<smtpclient::mailbox> people(std::size_t count) {
    std::vector<smtpclient::mailbox> all;
    for (std::size_t i = 0; i < count; ++i)
        all.push_back(mailbox_of("user" + std::to_string(i) + "@a.test"));
    return all;
}

milter::cache_settings in_memory() {
    milter::cache_settings s = milter::default_settings().cache;
    s.store = "memory";
    return s;
}

// An edge with a loop of its own, and what it has logged.
class running_edge {
public:
    explicit running_edge(const tests::redis_server& redis)
        : known_(in_memory(), milter::verdicts::make_store(in_memory())),
          edge_(options(redis), 0, known_, 1),
          attached_(edge_.attach(loop_.get_executor())),
          thread_([this] { loop_.run(); }) {}
    running_edge(const running_edge&) = delete;
    running_edge& operator=(const running_edge&) = delete;
    ~running_edge() {
        edge_.close();
        loop_.stop();
        thread_.join();
        attached_.stop();
    }

    [[nodiscard]] bool is_ready() const {
        return edge_.health().what == trouble::none && edge_.hears_notices();
    }
    [[nodiscard]] bool is_in_trouble() const { return edge_.health().what != trouble::none; }
    void finish(std::chrono::milliseconds at_most) { edge_.finish(at_most); }
    [[nodiscard]] milter::verdicts::cache& known() { return known_; }
    [[nodiscard]] const milter::fleet::unwritten_changes& unwritten() const {
        return edge_.unwritten();
    }
    // How many lines of this beginning.
    [[nodiscard]] std::size_t said(const std::string& beginning) {
        const std::lock_guard lock(mutex_);
        return static_cast<std::size_t>(
            std::count_if(lines_.begin(), lines_.end(), [&](const std::string& line) {
                return line.starts_with(beginning);
            }));
    }

private:
    store_options options(const tests::redis_server& redis) {
        store_options o;
        o.at.socket_path = redis.path();
        o.timeout = 10s;  // the machine may be busy
        o.stalled_after = 20s;
        o.first_pause = 5ms;
        o.longest_pause = 20ms;
        o.between_beats = 20ms;
        o.say = [this](milter::log_level, std::string_view line, milter::log_fields) {
            const std::lock_guard lock(mutex_);
            lines_.emplace_back(line);
        };
        return o;
    }

    std::mutex mutex_;
    std::vector<std::string> lines_;
    milter::verdicts::cache known_;
    edge edge_;
    asio::io_context loop_{1};
    edge::attachment attached_;
    std::thread thread_;
};

const std::string kept = "the shared store does not take a change now";
const std::string lost = "the program ends before the shared store has all changes";

}  // namespace

TEST_CASE("what waits for the store is said once when it begins, and once when it is over") {
    tests::redis_server redis;
    running_edge e(redis);
    REQUIRE(soon([&] { return e.is_ready(); }));
    e.known().forget(mailbox_of("u@a.test"));
    CHECK(e.unwritten().wait(0, 30s).written);
    CHECK(e.said(kept) == 0);
    redis.kill();
    CHECK(soon([&] { return e.is_in_trouble(); }));
    for (const auto& each : people(20)) e.known().forget(each);
    CHECK_FALSE(e.unwritten().wait(0, 30s).written);
    CHECK(e.unwritten().size() == 20);
    redis.start();
    CHECK(soon([&] { return e.unwritten().size() == 0; }));
    CHECK(redis.ask({"DBSIZE"}) == "21");  // and the seed
    CHECK(soon([&] { return e.said("the shared store has the changes") == 1; }));
    CHECK(e.said(kept) == 1);
}

TEST_CASE("a long list of declared addresses reaches the store and the other edge") {
    const tests::redis_server redis;
    running_edge one(redis);
    running_edge two(redis);
    REQUIRE(soon([&] { return one.is_ready() && two.is_ready(); }));
    constexpr std::size_t many = 20000;
    const auto all = people(many);
    one.known().declare(all, moment::now());
    CHECK(one.unwritten().wait(0, 60s).written);
    CHECK(redis.ask({"DBSIZE"}) == std::to_string(2 * many + 1));  // with marks, and the seed
    CHECK(soon([&] { return two.known().show(all.back()).size() == 1; }));
    CHECK(one.said("") == 1);  // "the shared store is used"
    CHECK(two.said("") == 1);
}

TEST_CASE("a long list is kept whole while the store is away for a moment") {
    tests::redis_server redis;
    running_edge e(redis);
    REQUIRE(soon([&] { return e.is_ready(); }));
    redis.kill();
    CHECK(soon([&] { return e.is_in_trouble(); }));
    constexpr auto many = milter::fleet::unwritten_changes::most_kept + 1;
    e.known().declare(people(many), moment::now());
    const auto standing = e.unwritten().wait(0, 30s);
    CHECK_FALSE(standing.written);
    CHECK_FALSE(standing.merged.has_value());
    CHECK(e.unwritten().size() == many);
    redis.start();
    CHECK(soon([&] { return e.unwritten().size() == 0; }));
    CHECK(e.said("too many") == 0);
    CHECK(e.said(kept) == 1);
}

TEST_CASE("what the store has not got when the program ends is awaited for a while") {
    tests::redis_server redis;
    running_edge e(redis);
    REQUIRE(soon([&] { return e.is_ready(); }));
    redis.kill();
    CHECK(soon([&] { return e.is_in_trouble(); }));
    e.known().forget(mailbox_of("u@a.test"));
    CHECK_FALSE(e.unwritten().wait(0, 30s).written);
    SUBCASE("and said to be lost where that was in vain") {
        e.finish(1ms);
        CHECK(e.said(lost) == 1);
    }
    SUBCASE("and written where the store comes back meanwhile") {
        redis.start();
        e.finish(40s);
        CHECK(e.unwritten().size() == 0);
        CHECK(e.said(lost) == 0);
    }
}

TEST_CASE("what waits to be declared is not when another edge has forgotten it meanwhile") {
    const tests::redis_server redis;
    running_edge e(redis);
    REQUIRE(soon([&] { return e.is_ready(); }));
    CHECK(redis.ask({"CONFIG", "SET", "maxmemory", "1"}) == "OK");
    const auto u = mailbox_of("u@a.test");
    e.known().declare(u, moment::now());
    CHECK_FALSE(e.unwritten().wait(0, 30s).written);
    REQUIRE(e.known().show(u).size() == 1);
    const std::string channel = milter::fleet::notices::channel_of(store_options());
    CHECK(redis.ask({"PUBLISH", channel, "1 other forget 0 u@a.test"}) == "1");
    CHECK(soon([&] { return e.known().show(u).empty(); }));
    CHECK(redis.ask({"CONFIG", "SET", "maxmemory", "0"}) == "OK");
    CHECK(soon([&] { return e.unwritten().size() == 0; }));
    CHECK(redis.ask({"DBSIZE"}) == "2");  // the seed, and a mark
}

TEST_CASE("what waits to be forgotten is not known again when another edge says that it exists") {
    const tests::redis_server redis;
    running_edge e(redis);
    REQUIRE(soon([&] { return e.is_ready(); }));
    CHECK(redis.ask({"CONFIG", "SET", "maxmemory", "1"}) == "OK");
    const auto u = mailbox_of("u@a.test");
    SUBCASE("an address") {
        e.known().forget(u);
    }
    SUBCASE("a domain") {
        e.known().declare(u, moment::now());
        e.known().forget_domain("a.test");
    }
    CHECK_FALSE(e.unwritten().wait(0, 30s).written);
    const std::string channel = milter::fleet::notices::channel_of(store_options());
    CHECK(redis.ask({"PUBLISH", channel, "1 other exists 0 u@a.test"}) == "1");
    CHECK(redis.ask({"PUBLISH", channel, "1 other exists 0 last@b.test"}) == "1");
    CHECK(soon([&] { return e.known().show(mailbox_of("last@b.test")).size() == 1; }));
    CHECK(e.known().show(u).empty());
}
