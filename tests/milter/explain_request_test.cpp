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
    CHECK(problem_of({.rcpt = "u@a.test", .from = "<>"}) == "none");
    CHECK(problem_of({.rcpt = "u@a.test", .from = "foo"}) ==
          "not a sender's address: foo; say USER@DOMAIN, or nothing for the null sender");
}

TEST_CASE("What is no mailbox has no route of the MTA, unless one is given") {
    std::string problem;
    for (const char* const rcpt : {"a b@one.test", "a@", "postmaster"}) {
        CAPTURE(rcpt);
        const auto e = envelope_of({.rcpt = rcpt}, problem);
        REQUIRE(e);
        CHECK(e->rcpt_mailer.empty());
        CHECK(e->rcpt_address.empty());
    }
    const auto told =
        envelope_of({.rcpt = "a b@one.test", .mta_route = "[192.0.2.25]:25"}, problem);
    REQUIRE(told);
    CHECK(told->rcpt_mailer == "smtp");
    CHECK(told->rcpt_host == "[192.0.2.25]:25");
}

TEST_CASE("A route of the log is said in the MTA's words, if it has one hop that they can say") {
    const auto said = [](std::string_view route) {
        return mta_route_of(route, "a.test").value_or("nothing");
    };
    CHECK(said("[192.0.2.25]:2525") == "smtp:[192.0.2.25]:2525");
    CHECK(said("relay.test") == "smtp:relay.test");
    CHECK(said("mx") == "smtp:a.test");
    CHECK(said("lmtp:unix:/run/lmtp") == "lmtp:unix:/run/lmtp");
    CHECK(said("smtps:relay.test") == "nothing");
    CHECK(said("[192.0.2.1],[192.0.2.2]") == "nothing");
    CHECK(said("") == "nothing");
}

TEST_CASE("That the MTA's route was assumed is told only where its word decides") {
    story told;
    told.route = "mx";
    const auto assumed = [&](const explain_request& r) {
        tell_whence_route(r, "", told);
        return told.route_is_assumed;
    };
    CHECK(assumed({.rcpt = "u@a.test"}));
    CHECK_FALSE(assumed({.rcpt = "u@a.test", .mta_route = "smtp:[192.0.2.25]"}));
    told.by.route = route_choice::mx;
    CHECK_FALSE(assumed({.rcpt = "u@a.test"}));
}
