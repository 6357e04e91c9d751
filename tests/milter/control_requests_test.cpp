#include "milter/control/requests.h"

#include <doctest/doctest.h>

#include <string>

using namespace callforward::milter::control;

TEST_CASE("A request to forget names an address or a domain") {
    std::string problem;
    const auto address = read_forgetting(R"({"address": "Bob@Next.test", "x": [1]})", problem);
    REQUIRE(address);
    REQUIRE(address->recipient);
    CHECK(address->recipient->key() == "Bob@next.test");
    CHECK(address->text == "Bob@Next.test");
    const auto domain = read_forgetting(R"({"domain": "Next.test"})", problem);
    REQUIRE(domain);
    CHECK_FALSE(domain->recipient);
    CHECK(domain->domain == "next.test");
    CHECK(problem.empty());
    for (const char* const neither : {"",
                                      "[]",
                                      "{",
                                      "{}",
                                      R"({"address": 1})",
                                      R"({"address": "a@b.test", "domain": "b.test"})"}) {
        CAPTURE(neither);
        CHECK_FALSE(read_forgetting(neither, problem));
        CHECK(problem.starts_with("say {\"address\""));
    }
    CHECK_FALSE(read_forgetting(R"({"address": "bob\n"})", problem));
    CHECK(problem.starts_with("not an address: bob"));
    CHECK_FALSE(read_forgetting(R"({"domain": "a b"})", problem));
    CHECK(problem == "not a domain: a b");
}

TEST_CASE("A list of addresses is taken as far as it is one, and tells which items are none") {
    std::string problem;
    const auto list = read_address_list(
        R"({"addresses": ["a@b.test", "none", 7, ["x"], {"y": 1}, "c@b.test", null]})", problem);
    REQUIRE(list);
    CHECK(list->addresses.size() == 2);
    std::string bad;
    for (const auto& b : list->bad) bad += std::to_string(b.index) + ' ' + b.text + "; ";
    CHECK(bad == "1 none; 2 7; 3 an array; 4 an object; 6 null; ");
    for (const char* const none : {"", "{}", R"({"addresses": "a@b.test"})"}) {
        CHECK_FALSE(read_address_list(none, problem));
        CHECK(problem.starts_with("say {\"addresses\""));
    }
    std::string many = R"({"addresses": [0)";
    for (int i = 0; i < 50000; ++i) many += ",0";
    CHECK_FALSE(read_address_list(many + "]}", problem));
    CHECK(problem == "at most 50000 addresses in one request");
}

TEST_CASE("A body that is nested a million deep costs nothing but its bytes") {
    constexpr std::size_t deep = 1'000'000;
    std::string problem;
    const auto list = read_address_list(
        R"({"addresses": [)" + std::string(deep, '[') + std::string(deep, ']') + "]}", problem);
    REQUIRE(list);
    REQUIRE(list->bad.size() == 1);
    CHECK(list->bad[0].text == "an array");
    CHECK_FALSE(read_forgetting(std::string(deep, '['), problem));
}

TEST_CASE("Who wants an explanation names a decision, or a recipient and what else is known") {
    std::string problem;
    const auto all = read_explanation_wanted(
        R"({"rcpt": "a@b.test", "from": "<>", "client": "::1", "mta_route": "smtp:x", "dry": true})",
        problem);
    REQUIRE(all);
    CHECK(all->about.rcpt == "a@b.test");
    CHECK(all->about.from == "<>");
    CHECK(all->about.client == "::1");
    CHECK(all->about.mta_route == "smtp:x");
    CHECK(all->about.dry);
    CHECK(all->id.empty());
    CHECK(read_explanation_wanted(R"({"id": "cf-a", "dry": "yes"})", problem)->id == "cf-a");
    CHECK_FALSE(read_explanation_wanted("[]", problem));
    CHECK(problem.starts_with("say {\"rcpt\""));
}

TEST_CASE("A page's beginning goes to a client and back as hexadecimal") {
    const std::string bytes("\0\x7f\xff", 3);
    CHECK(to_hex(bytes) == "007fff");
    CHECK(from_hex("007FFF") == bytes);
    CHECK(from_hex("") == "");
    for (const char* const wrong : {"0", "0x", "+1", " 1", "g0"}) CHECK_FALSE(from_hex(wrong));
    CHECK(from_hex(std::string(128, '0')));
    CHECK_FALSE(from_hex(std::string(130, '0')));
    CHECK(number_or("17", 3) == 17);
    for (const char* const wrong : {"", "-1", "1x", "99999999999999999999999"})
        CHECK(number_or(wrong, 3) == 3);
}
