// This host among the mail exchangers, known by an address (RFC 5321 section 5.1).
#include "tests/smtpclient/caller.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace callforward;
using namespace callforward::smtpclient;
using namespace callforward::testing;
using namespace std::chrono_literals;

namespace {

const std::string loop = "undetermined loop route";

// No connection can be made to it, whatever listens at port 25 of the machine that tests.
const char* const nobody = "255.255.255.255";

struct next_test_with_us {
    explicit next_test_with_us(const std::vector<std::pair<int, std::string>>& hosts,
                               bool address_is_known = true,
                               bool is_denied = false)
        : calls(knowing_us(address_is_known, is_denied)) {
        calls.resolver.mx("next.test", hosts);
        calls.resolver.no_such_name("primary.test");
        calls.resolver.address("us.test", {"127.0.0.66", "127.0.0.5"});
        calls.resolver.address("backup.test", {nobody});
        calls.resolver.address("other.test", {nobody});
    }
    static reach knowing_us(bool address_is_known, bool is_denied) {
        reach r;
        if (is_denied) r.deny = {dns::network::parse("127.0.0.0/8").value()};
        if (address_is_known) r.my_addresses = {dns::ip_address::parse("127.0.0.5").value()};
        return r;
    }
    [[nodiscard]] bool has_asked(const std::string& what) const {
        const auto& asked = calls.resolver.asked();
        return std::find(asked.begin(), asked.end(), what) != asked.end();
    }

    caller calls;
};

}  // namespace

TEST_CASE("no host of this host's own preference is asked before this one is noticed") {
    // Of a shuffle that puts another one first, one of twenty is.
    for (int i = 0; i < 20; ++i) {
        next_test_with_us world({{10, "us.test"}, {10, "backup.test"}, {20, "other.test"}});
        const verdict v = world.calls.ask(question_to_mx(25));
        CHECK(in_words(v.finding, v.stage) == loop);
        CHECK(v.host == "us.test");
        CHECK(v.detail == "us.test has an address of this host");
        CHECK_FALSE(world.has_asked("A other.test"));
    }
}

TEST_CASE("an own address is this host's, denied or not") {
    for (const auto& hosts : {std::vector<std::pair<int, std::string>>{{10, "us.test"}},
                              {{10, "us.test"}, {10, "backup.test"}}}) {
        next_test_with_us world(hosts, true, true);
        CHECK(world.calls.answer(question_to_mx(25)) == loop);
    }
}

TEST_CASE("hosts of a better preference than this host's are asked") {
    for (int i = 0; i < 20; ++i) {
        next_test_with_us world({{5, "primary.test"}, {10, "us.test"}, {10, "backup.test"}});
        CHECK(world.calls.answer(question_to_mx(25)) == loop);
        CHECK(world.calls.resolver.asked()[1] == "A primary.test");
    }
    next_test_with_us world({{5, "other.test"}, {10, "us.test"}, {10, "backup.test"}});
    const verdict v = world.calls.ask(question_to_mx(25));
    CHECK(in_words(v.finding, v.stage) == "undetermined connect_failed connect");
    CHECK(v.host == "other.test");
}

TEST_CASE("what is looked up only notices this host the same way") {
    for (int i = 0; i < 20; ++i) {
        next_test_with_us world({{10, "us.test"}, {10, "backup.test"}, {20, "other.test"}});
        question q = question_to_mx(25);
        q.dry = true;
        CHECK(world.calls.answer(std::move(q)) == loop);
        CHECK_FALSE(world.has_asked("A other.test"));
    }
}

TEST_CASE("equal hosts are looked up in advance only where one could be this host") {
    const auto look_ups = [](next_test_with_us& world, std::uint16_t port) {
        question q = question_to_mx(port);
        q.dry = true;
        (void)world.calls.ask(std::move(q));
        return world.calls.resolver.asked().size();
    };
    const std::vector<std::pair<int, std::string>> equal{{10, "other.test"}, {10, "backup.test"}};
    next_test_with_us unknown(equal, false);
    CHECK(look_ups(unknown, 25) == 3);
    next_test_with_us elsewhere(equal);
    CHECK(look_ups(elsewhere, 2525) == 3);
    next_test_with_us unequal({{10, "other.test"}, {20, "backup.test"}});
    CHECK(look_ups(unequal, 25) == 3);
    next_test_with_us here(equal);
    CHECK(look_ups(here, 25) == 5);
}

TEST_CASE("a host that nobody answers about holds up no longer than the question lasts") {
    next_test_with_us world({{10, "silent.test"}, {10, "us.test"}});
    world.calls.resolver.silent("silent.test");
    question q = question_to_mx(25);
    end_within(q, 300ms);
    CHECK(world.calls.answer(std::move(q)) == loop);
}

TEST_CASE("of many equal hosts no more are looked up in advance than would be asked") {
    next_test_with_us world({});
    std::vector<std::pair<int, std::string>> many;
    for (int i = 0; i < 200; ++i) {
        many.emplace_back(10, "mx" + std::to_string(i) + ".test");
        world.calls.resolver.no_such_name(many.back().second);
    }
    world.calls.resolver.mx("next.test", many);
    CHECK(world.calls.answer(question_to_mx(25)) == "undetermined no_usable_host route");
    CHECK(world.calls.resolver.asked().size() == 1 + 2 * 25);
}
