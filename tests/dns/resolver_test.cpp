#include "dns/ares_resolver.h"
#include "tests/support/dns_server.h"

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/udp.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <doctest/doctest.h>

#include <array>
#include <functional>
#include <memory>
#include <stdexcept>
#include <thread>

using namespace callforward::dns;
using namespace std::chrono_literals;
using callforward::test::dns_server;
using steady = std::chrono::steady_clock;

namespace {

// What does not end in this time, on the slowest machine, has no end.
constexpr auto for_ever = 30s;
constexpr auto in_time = 10s;

domain name(std::string_view text) {
    return *domain::parse(text);
}

template <class Record>
asio::awaitable<void> store(asio::awaitable<answer<Record>> question,
                            std::shared_ptr<std::vector<answer<Record>>> into) {
    answer<Record> got = co_await std::move(question);
    into->push_back(std::move(got));
}

// A resolver in its own event loop; each question is asked, and the loop run until it is answered.
struct resolver_fixture {
    explicit resolver_fixture(std::vector<std::string> servers,
                              std::chrono::milliseconds timeout = 10s,
                              std::size_t capacity = 100,
                              trust_in_ad trust = trust_in_ad::automatic) {
        resolver_options options;
        options.servers = std::move(servers);
        options.timeout = timeout;
        options.cache_capacity = capacity;
        options.trust_ad = trust;
        resolver = std::make_unique<ares_resolver>(loop.get_executor(), options);
    }
    template <class Record>
    std::shared_ptr<std::vector<answer<Record>>> start(asio::awaitable<answer<Record>> question) {
        auto into = std::make_shared<std::vector<answer<Record>>>();
        asio::co_spawn(loop, store<Record>(std::move(question), into), asio::detached);
        return into;
    }
    template <class Record>
    answer<Record> run(asio::awaitable<answer<Record>> question) {
        const auto got = start(std::move(question));
        const auto begin = steady::now();
        loop.restart();
        loop.run_for(for_ever);
        took = steady::now() - begin;
        REQUIRE(got->size() == 1);
        return got->front();
    }
    // These at the same time: what takes its whole time takes it once.
    std::vector<answer<mx>> mail_of_all(const std::vector<std::string_view>& names) {
        std::vector<std::shared_ptr<std::vector<answer<mx>>>> started;
        for (const auto each : names) {
            started.push_back(start(resolver->mail_exchangers(name(each))));
        }
        loop.restart();
        loop.run_for(for_ever);
        std::vector<answer<mx>> all;
        for (const auto& got : started) {
            REQUIRE(got->size() == 1);
            all.push_back(got->front());
        }
        return all;
    }
    answer<mx> mail(std::string_view of) { return run(resolver->mail_exchangers(name(of))); }
    answer<ip_address> addresses(std::string_view of) { return run(resolver->addresses(name(of))); }

    asio::io_context loop;
    std::unique_ptr<ares_resolver> resolver;
    steady::duration took{};
};

std::string texts(const answer<ip_address>& a) {
    std::string out;
    for (const ip_address& address : a.records) out += (out.empty() ? "" : " ") + address.text();
    return out;
}

// The server counts in a thread of its own.
bool comes_true(const std::function<bool()>& it) {
    for (const auto end = steady::now() + in_time; !it();) {
        if (steady::now() > end) return false;
        std::this_thread::sleep_for(2ms);
    }
    return true;
}

// A port where nothing answers: taken by a socket that is never read.
struct silent_server {
    asio::io_context loop;
    asio::ip::udp::socket socket{loop,
                                 asio::ip::udp::endpoint(asio::ip::address_v4::loopback(), 0)};
    [[nodiscard]] std::string address() const {
        return "127.0.0.1:" + std::to_string(socket.local_endpoint().port());
    }
};

}  // namespace

TEST_CASE("MX records come with preference, TTL, AD bit and canonical name") {
    dns_server server(
        "example.test MX 10 mx1.example.test\n example.test MX 20 mx2.example.test\n example.test "
        "TTL 77\n"
        "example.test AD\n alias.test CNAME example.test\n alias.test TTL 50");
    resolver_fixture r({server.address()});
    const auto got = r.mail("example.test");
    CHECK(got.status == status::found);
    REQUIRE(got.records.size() == 2);
    CHECK(got.records[0] == mx{10, domain::parse("mx1.example.test")});
    CHECK(got.ttl == 77s);
    CHECK(got.secure);
    CHECK(server.questions_with_ad_and_edns() == 1);
    const auto alias = r.mail("alias.test");
    CHECK(alias.canonical == "example.test");
    CHECK(alias.ttl == 50s);
    CHECK_FALSE(alias.secure);
}

TEST_CASE("the four statuses are kept apart") {
    dns_server server(
        "nodata.test A 127.0.0.2\n null.test MX 0 .\n broken.test SERVFAIL\n no.test REFUSED\n "
        "lame.test REFERRAL");
    resolver_fixture r({server.address()});
    CHECK(r.mail("nodata.test").status == status::no_data);
    CHECK(r.mail("none.test").status == status::no_such_name);
    CHECK(r.mail("null.test").status == status::found);
    CHECK_FALSE(r.mail("null.test").records.at(0).exchange);
    CHECK(r.mail("broken.test").status == status::unavailable);
    CHECK(r.mail("broken.test").why == "SERVFAIL");
    CHECK(r.mail("no.test").why == "REFUSED");
    CHECK(r.mail("lame.test").status == status::unavailable);
    CHECK(r.addresses("none.test").status == status::no_such_name);
    CHECK(r.addresses("null.test").status == status::no_data);
}

TEST_CASE("A and AAAA are merged") {
    dns_server server(
        "both.test A 127.0.0.2\n both.test AAAA ::1\n six.test AAAA ::1\n six.test TTL 9\n "
        "alias.test CNAME both.test");
    resolver_fixture r({server.address()});
    CHECK(texts(r.addresses("both.test")) == "127.0.0.2 ::1");
    CHECK(texts(r.addresses("six.test")) == "::1");
    CHECK(r.addresses("six.test").ttl <= 9s);
    CHECK(r.addresses("alias.test").canonical == "both.test");
    CHECK(server.questions("both.test", "A") == 1);
    CHECK(server.questions("both.test", "AAAA") == 1);
}

TEST_CASE("one good address is enough, and a failure is no absence") {
    dns_server server(
        "four.test A 127.0.0.2\n four.test SERVFAIL AAAA\n six.test AAAA ::1\n six.test TIMEOUT A\n"
        "half.test SERVFAIL AAAA\n other.test TIMEOUT A\n odd.test NXDOMAIN A\n odd6.test NXDOMAIN "
        "AAAA");
    resolver_fixture r({server.address()});
    CHECK(texts(r.addresses("four.test")) == "127.0.0.2");
    CHECK(r.addresses("half.test").status == status::unavailable);
    CHECK(r.addresses("half.test").why == "SERVFAIL");
    // Its whole time, at the end of which there has to be an answer on the slowest machine.
    resolver_fixture waiting({server.address()}, 3s);
    CHECK(waiting.addresses("other.test").status == status::unavailable);
    // "Exists without" by one type is believed over "does not exist" by the other.
    CHECK(r.addresses("odd.test").status == status::no_data);
    CHECK(r.addresses("odd6.test").status == status::no_data);
}

TEST_CASE("who has an address does not wait long for the other family's") {
    dns_server server(
        "four.test A 127.0.0.2\n four.test TIMEOUT AAAA\n six.test AAAA ::1\n six.test TIMEOUT A");
    resolver_fixture r({server.address()}, 2 * in_time);
    const auto waits_for = [&](std::string_view of, const std::string& expected) {
        const auto got = r.start(r.resolver->addresses(name(of)));
        const auto begin = steady::now();
        r.loop.restart();
        while (got->empty() && steady::now() - begin < in_time) r.loop.run_one_for(in_time);
        REQUIRE(got->size() == 1);
        CHECK(texts(got->front()) == expected);
    };
    waits_for("four.test", "127.0.0.2");
    waits_for("six.test", "::1");
}

TEST_CASE("localhost is never asked for") {
    dns_server server("");
    resolver_fixture r({server.address()});
    CHECK(texts(r.addresses("localhost")) == "127.0.0.1 ::1");
    CHECK(texts(r.addresses("x.localhost")) == "127.0.0.1 ::1");
    CHECK(server.questions() == 0);
}

TEST_CASE("an answer is kept, unless its TTL is 0 or it is unavailable") {
    dns_server server(
        "a.test MX 1 mx.test\n zero.test MX 1 mx.test\n zero.test TTL 0\n bad.test SERVFAIL");
    resolver_fixture r({server.address()});
    for (int i = 0; i < 3; ++i) {
        CHECK(r.mail("a.test").status == status::found);
        CHECK(r.mail("none.test").status == status::no_such_name);
        CHECK(r.mail("zero.test").status == status::found);
        CHECK(r.mail("bad.test").status == status::unavailable);
    }
    CHECK(server.questions("a.test", "MX") == 1);
    CHECK(server.questions("none.test", "MX") == 1);
    CHECK(server.questions("zero.test", "MX") == 3);
    CHECK(server.questions("bad.test", "MX") >= 3);
    server.set("bad.test MX 1 mx.test");
    CHECK(r.mail("bad.test").status == status::found);
    CHECK(r.mail("a.test").status == status::found);
}

TEST_CASE("equal questions under way are asked once") {
    dns_server server(
        "a.test MX 1 mx.test\n a.test DELAY 30\n a.test TTL 0\n b.test SERVFAIL\n b.test DELAY 30");
    resolver_fixture r({server.address()});
    std::vector<std::shared_ptr<std::vector<answer<mx>>>> all;
    for (int i = 0; i < 20; ++i)
        all.push_back(r.start(r.resolver->mail_exchangers(name("a.test"))));
    r.loop.run();
    for (const auto& got : all) {
        REQUIRE(got->size() == 1);
        CHECK(got->front().status == status::found);
    }
    CHECK(server.questions("a.test", "MX") == 1);
}

TEST_CASE("who loses patience does not end the question for the others") {
    using namespace asio::experimental::awaitable_operators;
    dns_server server("a.test MX 1 mx.test\n a.test DELAY 600");
    resolver_fixture r({server.address()});
    asio::steady_timer patience(r.loop, 10ms);
    bool gave_up = false;
    auto impatient = [&]() -> asio::awaitable<void> {
        auto either =
            r.resolver->mail_exchangers(name("a.test")) || patience.async_wait(asio::use_awaitable);
        auto which = co_await std::move(either);
        gave_up = which.index() == 1;
    };
    asio::co_spawn(r.loop, impatient, asio::detached);
    const auto got = r.start(r.resolver->mail_exchangers(name("a.test")));
    r.loop.run();
    CHECK(gave_up);
    REQUIRE(got->size() == 1);
    CHECK(got->front().status == status::found);
    CHECK(server.questions("a.test", "MX") == 1);
}

TEST_CASE("truncation is answered by TCP") {
    std::string zone = "t.test MX 1 mx.test\n t.test TRUNCATE\n";
    for (int i = 0; i < 200; ++i)
        zone += "many.test MX " + std::to_string(i) + " host" + std::to_string(i) + ".many.test\n";
    dns_server server(zone);
    resolver_fixture r({server.address()});
    CHECK(r.mail("t.test").records.size() == 1);
    CHECK(server.questions("t.test", "MX") == 2);
    CHECK(r.mail("many.test").records.size() == 200);
}

TEST_CASE("TCP that closes, stalls or is cut short is unavailable in time") {
    dns_server server(
        "a.test MX 1 mx.test\n a.test TRUNCATE\n a.test TCPCLOSE\n b.test MX 1 mx.test\n b.test "
        "TRUNCATE\n b.test TCPSTALL\n"
        "c.test MX 1 mx.test\n c.test TRUNCATE\n c.test TCPSHORT\n ok.test MX 1 mx.test");
    for (const char* each : {"a.test", "b.test", "c.test"}) {
        CAPTURE(each);
        resolver_fixture r({server.address()}, 3s);  // in which ok.test is answered, too
        CHECK(r.mail(each).status == status::unavailable);
        CHECK(r.took < in_time);
        CHECK(r.mail("ok.test").status == status::found);
    }
}

TEST_CASE("no answer is unavailable by the deadline") {
    dns_server server("a.test TIMEOUT\n late.test MX 1 mx.test\n late.test DELAY 30000");
    resolver_fixture r({server.address()}, 600ms);
    CHECK(r.mail("a.test").why == "timeout");
    CHECK(r.took >= 500ms);
    CHECK(r.took < in_time);
    CHECK(comes_true([&] { return server.questions("a.test", "MX") == 2; }));
    const auto addresses = r.start(r.resolver->addresses(name("a.test")));
    CHECK(r.mail("late.test").status == status::unavailable);
    CHECK(r.took < in_time);
    REQUIRE(addresses->size() == 1);
    CHECK(addresses->front().status == status::unavailable);
}

TEST_CASE("one lost packet is asked again soon, however long the whole may take") {
    for (const int seconds : {10, 24 * 3600}) {
        dns_server server("a.test TIMEOUT");
        resolver_fixture r({server.address()}, std::chrono::seconds(seconds));
        asio::steady_timer look(r.loop);
        const std::function<void()> until_lost = [&] {
            look.expires_after(5ms);
            look.async_wait([&](const asio::error_code&) {
                if (server.questions("a.test", "MX") == 0) return until_lost();
                server.set("a.test MX 1 mx.test");
            });
        };
        until_lost();
        CHECK(r.mail("a.test").status == status::found);
        CHECK(server.questions("a.test", "MX") >= 2);
        CHECK(server.questions("a.test", "MX") <= 4);  // as often as a server is tried
    }
}

TEST_CASE("servers are asked in turn: after SERVFAIL, REFUSED, silence and a closed port") {
    dns_server good("a.test MX 1 mx.test\n b.test MX 1 mx.test\n c.test MX 1 mx.test");
    dns_server bad("a.test SERVFAIL\n b.test REFUSED\n c.test TIMEOUT");
    resolver_fixture r({bad.address(), good.address()});
    for (const char* each : {"a.test", "b.test", "c.test"}) {
        CAPTURE(each);
        CHECK(r.mail(each).status == status::found);
        CHECK(good.questions(each, "MX") >= 1);
        CHECK(good.questions(each, "MX") <= 3);
    }
    std::string closed;
    {
        const dns_server gone("");
        closed = gone.address();
    }
    resolver_fixture second({closed, good.address()});
    CHECK(second.mail("a.test").status == status::found);
    resolver_fixture alone({closed}, 600ms);
    CHECK(alone.mail("a.test").status == status::unavailable);
    CHECK(alone.took < in_time);
}

TEST_CASE("a server that comes back is asked again") {
    std::string address;
    {
        const dns_server first("");
        address = first.address();
    }
    resolver_fixture r({address});
    CHECK(r.mail("a.test").status == status::unavailable);
    const dns_server again("a.test MX 1 mx.test", address);
    CHECK(r.mail("a.test").status == status::found);
}

TEST_CASE("forged, doubled, odd and broken replies") {
    dns_server server(
        "id.test MX 1 mx.test\n id.test WRONGID\n question.test MX 1 mx.test\n question.test "
        "WRONGQUESTION\n"
        "twice.test MX 1 mx.test\n twice.test DUPLICATE\n upper.test MX 1 mx.test\n upper.test "
        "UPPER\n"
        "old.test MX 1 mx.test\n old.test NOEDNS\n garbage.test GARBAGE\n empty.test EMPTY\n "
        "numeric.test MX 1 192.0.2.1");
    resolver_fixture r({server.address()});
    for (const char* good : {"id.test", "question.test", "twice.test", "upper.test", "old.test"}) {
        CAPTURE(good);
        CHECK(r.mail(good).status == status::found);
    }
    resolver_fixture waiting({server.address()}, 1s);
    for (const auto& bad : waiting.mail_of_all({"garbage.test", "empty.test"})) {
        CHECK(bad.status == status::unavailable);
    }
    CHECK(r.mail("numeric.test").status == status::found);
    CHECK(r.mail("numeric.test").records.empty());
}

TEST_CASE("a CNAME chain over several messages is followed, with bounds") {
    std::string zone =
        "a.test CNAME b.test\n a.test BARE\n a.test TTL 40\n b.test CNAME c.test\n b.test BARE\n "
        "c.test MX 1 mx.test\n"
        "x.test CNAME y.test\n x.test BARE\n y.test CNAME x.test\n y.test BARE\n loop.test CNAME "
        "loop.test\n"
        "dead.test CNAME nowhere.test\n dead.test BARE\n bad.test CNAME fails.test\n bad.test "
        "BARE\n fails.test SERVFAIL\n";
    for (int i = 0; i < 30; ++i) {
        const std::string n = std::to_string(i);
        zone += "l" + n + ".test CNAME l" + std::to_string(i + 1) + ".test\nl" + n + ".test BARE\n";
    }
    dns_server server(zone);
    resolver_fixture r({server.address()});
    const auto got = r.mail("a.test");
    CHECK(got.status == status::found);
    CHECK(got.canonical == "c.test");
    CHECK(got.ttl == 40s);
    CHECK(r.mail("x.test").why == "CNAME loop");
    CHECK(r.mail("loop.test").status == status::unavailable);
    CHECK(r.mail("dead.test").status == status::no_such_name);
    CHECK(r.mail("bad.test").status == status::unavailable);
    const auto before = server.questions();
    CHECK(r.mail("l0.test").why == "too many CNAMEs");
    CHECK(server.questions() - before == 12);
}

TEST_CASE("a slow CNAME chain ends by the deadline of the question") {
    std::string zone;
    for (int i = 0; i < 10; ++i) {
        const std::string n = "l" + std::to_string(i) + ".test ";
        zone += n + "CNAME l" + std::to_string(i + 1) + ".test\n" + n + "BARE\n" + n + "DELAY 60\n";
    }
    dns_server server(zone);
    resolver_fixture r({server.address()}, 200ms);
    // Without that deadline the end of the chain would be found: there is no such name.
    CHECK(r.mail("l0.test").status == status::unavailable);
}

TEST_CASE("IPv6 servers are asked") {
    dns_server server("a.test MX 1 mx.test", "[::1]:0");
    resolver_fixture r({server.address()});
    CHECK(r.mail("a.test").status == status::found);
}

TEST_CASE("servers that are not understood stop the start") {
    asio::io_context loop;
    resolver_options options;
    options.servers = {"dns.example"};
    CHECK_THROWS_AS(ares_resolver(loop.get_executor(), options), std::runtime_error);
    options.servers.clear();
    CHECK_NOTHROW(ares_resolver(loop.get_executor(), options));
}

TEST_CASE("a resolver destroyed with questions under way ends them, unavailable") {
    const silent_server server;
    resolver_fixture r({server.address()}, 60s);
    const auto got = r.start(r.resolver->mail_exchangers(name("a.test")));
    const auto too = r.start(r.resolver->addresses(name("a.test")));
    asio::steady_timer soon(r.loop, 20ms);
    soon.async_wait([&](const asio::error_code&) { r.resolver.reset(); });
    const auto begin = steady::now();
    r.loop.run();
    CHECK(steady::now() - begin < in_time);
    REQUIRE(got->size() == 1);
    CHECK(got->front().status == status::unavailable);
    CHECK(got->front().why == "stopped");
    REQUIRE(too->size() == 1);
    CHECK(too->front().status == status::unavailable);
}

TEST_CASE("a resolver destroyed before its questions start ends them, unavailable") {
    const silent_server server;
    resolver_fixture r({server.address()}, 5s);
    const auto got = r.start(r.resolver->mail_exchangers(name("a.test")));
    r.resolver.reset();
    r.loop.run();
    REQUIRE(got->size() == 1);
    CHECK(got->front().status == status::unavailable);
}

TEST_CASE("an event loop destroyed with questions under way leaves nothing behind") {
    const silent_server server;
    auto r = std::make_unique<resolver_fixture>(std::vector{server.address()}, 5s);
    static_cast<void>(r->start(r->resolver->addresses(name("a.test"))));
    r->loop.run_for(20ms);
    static_cast<void>(r->start(r->resolver->mail_exchangers(name("b.test"))));
    r.reset();
}

TEST_CASE("many questions at once are all answered") {
    std::string zone;
    for (int i = 0; i < 300; ++i) zone += "d" + std::to_string(i) + ".test A 127.0.0.2\n";
    dns_server server(zone);
    resolver_fixture r({server.address()}, 8s, 2000);
    std::vector<std::shared_ptr<std::vector<answer<ip_address>>>> all;
    for (int i = 0; i < 300; ++i)
        all.push_back(r.start(r.resolver->addresses(name("d" + std::to_string(i) + ".test"))));
    r.loop.run();
    for (const auto& got : all) CHECK(got->at(0).status == status::found);
    CHECK(server.questions() >= 600);
}

TEST_CASE("TLSA and TXT are asked for by their names, and come with the AD bit") {
    dns_server server(
        "_2525._tcp.mx.test TLSA 3 1 1 abcd\n_2525._tcp.mx.test AD\n"
        "_mta-sts.next.test TXT v=STSv1; id=1;\n_25._tcp.broken.test SERVFAIL");
    resolver_fixture f({server.address()});
    const auto found = f.run(f.resolver->tlsa_records(name("mx.test"), 2525));
    REQUIRE(found.records.size() == 1);
    CHECK(found.records[0] == tlsa{3, 1, 1, {0xab, 0xcd}});
    CHECK(found.secure);
    CHECK(f.run(f.resolver->tlsa_records(name("mx.test"), 25)).status == status::no_such_name);
    CHECK(f.run(f.resolver->tlsa_records(name("broken.test"), 25)).status == status::unavailable);
    const std::string longest = std::string(60, 'a') + '.' + std::string(60, 'b') + '.' +
                                std::string(60, 'c') + '.' + std::string(60, 'd') + ".test";
    CHECK(f.run(f.resolver->tlsa_records(name(longest), 25)).status == status::no_such_name);
    const auto text = f.run(f.resolver->texts(name("_mta-sts.next.test")));
    CHECK(text.records == std::vector<std::string>{"v=STSv1; id=1;"});
    CHECK_FALSE(text.secure);
}

TEST_CASE("the AD bit is believed as the options say") {
    dns_server server("signed.test MX 10 mx.test\nsigned.test AD");
    for (const auto trust : {trust_in_ad::automatic, trust_in_ad::yes, trust_in_ad::no}) {
        resolver_fixture f({server.address()}, 10s, 100, trust);
        // The tests' server is on the loopback, so automatic believes it.
        CHECK(f.mail("signed.test").secure == (trust != trust_in_ad::no));
    }
}
