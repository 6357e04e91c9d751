#include "milter/explain_request.h"

#include "milter/mta_route.h"

#include <doctest/doctest.h>

using namespace callforward::milter;

namespace {

std::string problem_of(const explain_request& r) {
    std::string problem;
    return envelope_of(r, problem) ? "none" : problem;
}

}  // namespace

TEST_CASE("A recipient alone is what a relay would say about it") {
    std::string problem;
    const auto e = envelope_of({.rcpt = "u@a.test"}, problem);
    REQUIRE(e);
    CHECK(e->rcpt == "<u@a.test>");
    CHECK(e->mail == "<>");
    CHECK(e->rcpt_mailer == "smtp");
    CHECK(e->rcpt_host == "a.test");
    CHECK(e->rcpt_address == "u@a.test");
    CHECK(e->client_address == "192.0.2.1");
    CHECK(e->mta.is_postfix());
}

TEST_CASE("Sender, client and route are taken as they are given") {
    std::string problem;
    const auto e = envelope_of({.rcpt = "<u@a.test>",
                                .from = "s@b.test",
                                .client = "2001:db8::7",
                                .mta_route = "relay:[192.0.2.25]:2525"},
                               problem);
    REQUIRE(e);
    CHECK(e->mail == "<s@b.test>");
    CHECK(e->client_address == "2001:db8::7");
    CHECK(e->rcpt_mailer == "relay");
    CHECK(e->rcpt_host == "[192.0.2.25]:2525");
    const auto local = envelope_of({.rcpt = "u@a.test", .mta_route = "local:"}, problem);
    REQUIRE(local);
    CHECK(route_from_macros(*local, {}).kind == route_kind::local);
}

TEST_CASE("What cannot be asked is said, and why") {
    CHECK(problem_of({}) == "say which recipient");
    CHECK(problem_of({.rcpt = "u@a.test", .client = "nobody"}).find("client") != std::string::npos);
    CHECK(problem_of({.rcpt = "u@a.test", .mta_route = "nonsense"}).find("MAILER:HOST") !=
          std::string::npos);
    CHECK(problem_of({.rcpt = "not an address"}) == "none");
}
