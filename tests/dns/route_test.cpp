#include "dns/route.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <initializer_list>
#include <utility>

using namespace callforward::dns;

namespace {

const domain to = *domain::parse("example.test");

// Name "." is the root.
answer<mx> listing(std::initializer_list<std::pair<std::uint16_t, const char*>> records) {
    answer<mx> out;
    out.status = status::found;
    out.canonical = to.name();
    for (const auto& [preference, name] : records)
        out.records.push_back({preference, domain::parse(name)});
    return out;
}

answer<mx> without_records(status s) {
    answer<mx> out;
    out.status = s;
    out.canonical = to.name();
    out.why = "timeout";
    return out;
}

std::string names(const route& r) {
    std::string out;
    for (const mail_host& h : r.hosts) out += (out.empty() ? "" : " ") + h.name.name();
    return out;
}

}  // namespace

TEST_CASE(
    "RFC 5321 5.1: an empty list of MXs is an implicit MX of preference 0 that points to the "
    "domain") {
    const route r = route_mail(to, without_records(status::no_data), {}, 1);
    CHECK(r.routing == routing::implicit);
    REQUIRE(r.hosts.size() == 1);
    CHECK(r.hosts[0] == mail_host{to, 0});
}

TEST_CASE(
    "RFC 5321 5.1: a domain that does not exist is an error, and not the same as one without MX") {
    CHECK(route_mail(to, without_records(status::no_such_name), {}, 1).routing ==
          routing::no_such_domain);
}

TEST_CASE("RFC 5321 5.1: a temporary error is never taken for an empty list") {
    const route r = route_mail(to, without_records(status::unavailable), {}, 1);
    CHECK(r.routing == routing::unavailable);
    CHECK(r.hosts.empty());
    CHECK(r.why == "MX of example.test: timeout");
}

TEST_CASE("RFC 5321 5.1: lower preference numbers come first") {
    const auto r = route_mail(
        to, listing({{30, "c.test"}, {10, "a.test"}, {65535, "d.test"}, {20, "b.test"}}), {}, 1);
    CHECK(r.routing == routing::listed);
    CHECK(names(r) == "a.test b.test c.test d.test");
    CHECK(r.hosts[1].preference == 20);
}

TEST_CASE("RFC 5321 5.1: equal preferences are randomized, each within its own group") {
    const auto records =
        listing({{10, "a.test"}, {10, "b.test"}, {10, "c.test"}, {20, "x.test"}, {20, "y.test"}});
    std::set<std::string> orders;
    for (std::uint32_t seed = 0; seed < 200; ++seed) {
        const route r = route_mail(to, records, {}, seed);
        CHECK(names(r) == names(route_mail(to, records, {}, seed)));
        CHECK(std::is_sorted(r.hosts.begin(), r.hosts.end(), [](const auto& a, const auto& b) {
            return a.preference < b.preference;
        }));
        orders.insert(names(r));
    }
    CHECK(orders.size() == 12);
}

TEST_CASE(
    "RFC 5321 5.1: when MX records are present but none is usable, the address record is not "
    "used") {
    CHECK(route_mail(to, listing({}), {}, 1).routing == routing::unusable);
    CHECK(route_mail(to, listing({{0, "."}, {10, "."}}), {}, 1).routing == routing::unusable);
    CHECK(route_mail(to, listing({}), {}, 1).hosts.empty());
}

TEST_CASE("RFC 5321 5.1: this host, its equals and those behind it are dropped") {
    const own_names self = {"us.test", "also-us.test"};
    struct row {
        answer<mx> records;
        routing expected;
        const char* hosts;
    };
    const row rows[] = {
        {listing({{10, "a.test"}, {20, "us.test"}, {30, "b.test"}}), routing::listed, "a.test"},
        {listing({{10, "a.test"}, {20, "us.test"}, {20, "equal.test"}}), routing::listed, "a.test"},
        {listing({{10, "US.test."}, {30, "b.test"}}), routing::loop, ""},
        {listing({{10, "us.test"}}), routing::loop, ""},
        {listing({{5, "a.test"}, {10, "also-us.test"}, {20, "us.test"}, {30, "b.test"}}),
         routing::listed,
         "a.test"},
        {listing({{10, "us.test"}, {20, "us.test"}, {5, "a.test"}}), routing::listed, "a.test"},
        {listing({{10, "a.test"}, {20, "b.test"}}), routing::listed, "a.test b.test"},
    };
    for (const row& r : rows) {
        const route got = route_mail(to, r.records, self, 7);
        CHECK(got.routing == r.expected);
        CHECK(names(got) == r.hosts);
    }
}

TEST_CASE("the implicit MX of this host is a loop, also behind a CNAME") {
    auto none = without_records(status::no_data);
    CHECK(route_mail(to, none, {"example.test"}, 1).routing == routing::loop);
    none.canonical = "us.test";
    CHECK(route_mail(to, none, {"us.test"}, 1).routing == routing::loop);
    CHECK(route_mail(to, none, {"other.test"}, 1).routing == routing::implicit);
}

TEST_CASE("RFC 7505: one MX record that names the root takes no mail") {
    CHECK(route_mail(to, listing({{0, "."}}), {}, 1).routing == routing::null_mx);
    CHECK(route_mail(to, listing({{0, "."}}), {"us.test"}, 1).hosts.empty());
}

TEST_CASE("RFC 7505: a null MX beside other records is malformed and left out") {
    const route r = route_mail(to, listing({{0, "."}, {10, "a.test"}}), {}, 1);
    CHECK(r.routing == routing::listed);
    CHECK(names(r) == "a.test");
}

TEST_CASE("a host listed twice is tried once, at its better preference") {
    const route r = route_mail(to, listing({{20, "a.test"}, {10, "b.test"}, {5, "A.TEST"}}), {}, 1);
    CHECK(names(r) == "a.test b.test");
    CHECK(r.hosts[0].preference == 5);
}

TEST_CASE("at most 32 hosts are tried, the best ones, and this host counts wherever it is") {
    answer<mx> many;
    many.status = status::found;
    for (unsigned i = 0; i < 200; ++i)
        many.records.push_back({static_cast<std::uint16_t>(200 - i),
                                domain::parse("h" + std::to_string(200 - i) + ".test")});
    const route r = route_mail(to, many, {}, 1);
    REQUIRE(r.hosts.size() == max_hosts);
    CHECK(r.hosts.front().name.name() == "h1.test");
    CHECK(r.hosts.back().name.name() == "h32.test");
    CHECK(route_mail(to, many, {"h4.test"}, 1).hosts.size() == 3);
}

TEST_CASE("every routing and status has a name") {
    for (const auto r : {routing::listed,
                         routing::implicit,
                         routing::null_mx,
                         routing::no_such_domain,
                         routing::loop,
                         routing::unusable,
                         routing::unavailable})
        CHECK(to_string(r).size() > 3);
    for (const auto s : {status::found, status::no_data, status::no_such_name, status::unavailable})
        CHECK(to_string(s).size() > 3);
}
