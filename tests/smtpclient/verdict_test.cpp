#include "smtpclient/verdict.h"

#include "smtpclient/question.h"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

namespace callforward::smtpclient {
namespace {

constexpr int last_reason = static_cast<int>(reason::off);
constexpr int last_stage = static_cast<int>(stage::data);
constexpr int last_class = static_cast<int>(verdict_class::skipped);

verdict made(verdict_class c, reason why, std::optional<reply> r = std::nullopt) {
    verdict v;
    v.finding = {c, why};
    v.reply = std::move(r);
    return v;
}

}  // namespace

TEST_CASE("every reason has one name, and the name is read back") {
    std::set<std::string_view> names;
    for (int i = 0; i <= last_reason; ++i) {
        const auto value = static_cast<reason>(i);
        names.insert(to_string(value));
        CHECK(to_string(value) != "?");
        CHECK(parse_reason(to_string(value)) == value);
    }
    CHECK(names.size() == last_reason + 1);
    CHECK(reason_names().size() == names.size());
    for (const auto name : reason_names()) CHECK(names.contains(name));
}

TEST_CASE("every stage has one name, and the name is read back") {
    std::set<std::string_view> names;
    for (int i = 0; i <= last_stage; ++i) {
        const auto value = static_cast<stage>(i);
        names.insert(to_string(value));
        CHECK(to_string(value) != "?");
        CHECK(parse_stage(to_string(value)) == value);
    }
    CHECK(names.size() == last_stage + 1);
    CHECK(stage_names().size() == names.size());
    for (const auto name : stage_names()) CHECK(names.contains(name));
}

TEST_CASE("a name is read exactly") {
    CHECK_FALSE(parse_reason(""));
    CHECK_FALSE(parse_reason("?"));
    CHECK_FALSE(parse_reason("Unknown_User"));
    CHECK_FALSE(parse_reason("unknown_user "));
    CHECK_FALSE(parse_stage("RCPT"));
    CHECK_FALSE(parse_tls_level("dane_only"));
}

TEST_CASE("the reasons of the contract have its names") {
    for (const auto* name :
         {"accepted",       "catch_all",       "unknown_user",   "disabled",       "moved",
          "mailbox_full",   "no_such_domain",  "null_mx",        "bad_address",    "sender_refused",
          "deferred",       "greylisted",      "throttled",      "client_refused", "auth_required",
          "policy",         "dns_unavailable", "connect_failed", "timed_out",      "disconnected",
          "protocol_error", "no_usable_host",  "loop",           "host_penalty",   "overloaded",
          "smtputf8",       "tls_not_offered", "tls_failed",     "certificate",    "dane_failed",
          "not_in_scope",   "exempt",          "local",          "alias",          "off"}) {
        CAPTURE(name);
        CHECK(parse_reason(name));
    }
    CHECK(reason_names().size() == 35);
}

TEST_CASE("classes and outcomes have names of their own") {
    std::set<std::string_view> names;
    for (int i = 0; i <= last_class; ++i) names.insert(to_string(static_cast<verdict_class>(i)));
    CHECK(names.size() == last_class + 1);
    CHECK_FALSE(names.contains("?"));
    CHECK(to_string(outcome::deliverable) == "deliverable");
    CHECK(to_string(outcome::undeliverable) == "undeliverable");
    CHECK(to_string(outcome::undetermined) == "undetermined");
}

TEST_CASE("TLS levels are Postfix's, and their names are read back") {
    const std::vector<std::string_view> postfix = {
        "none", "may", "encrypt", "dane", "dane-only", "fingerprint", "verify", "secure"};
    CHECK(tls_level_names() == postfix);
    for (const auto name : postfix) {
        const auto level = parse_tls_level(name);
        REQUIRE(level);
        CHECK(to_string(*level) == name);
    }
}

TEST_CASE("the outcome follows from the class alone") {
    for (int c = 0; c <= last_class; ++c) {
        for (int r = 0; r <= last_reason; ++r) {
            const auto verdict_class_ = static_cast<verdict_class>(c);
            const auto outcome_ = made(verdict_class_, static_cast<reason>(r)).outcome();
            CHECK((outcome_ == outcome::deliverable) ==
                  (verdict_class_ == verdict_class::deliverable));
            CHECK((outcome_ == outcome::undeliverable) ==
                  (verdict_class_ == verdict_class::undeliverable));
        }
    }
}

TEST_CASE("a verdict that nobody filled in decides nothing") {
    CHECK(verdict{}.outcome() == outcome::undetermined);
    CHECK(finding{}.verdict_class == verdict_class::unreachable);
    CHECK_FALSE(about_recipient_alone(verdict{}));
}

TEST_CASE("reasons have the class that the contract gives them") {
    const auto is = [](verdict_class c, std::initializer_list<reason> reasons) {
        for (const auto r : reasons) {
            CAPTURE(to_string(r));
            CHECK(usual_class(r) == c);
        }
    };
    is(verdict_class::deliverable, {reason::accepted, reason::catch_all});
    is(verdict_class::undeliverable,
       {reason::unknown_user,
        reason::disabled,
        reason::moved,
        reason::mailbox_full,
        reason::no_such_domain,
        reason::null_mx,
        reason::bad_address});
    is(verdict_class::sender_refused, {reason::sender_refused});
    is(verdict_class::deferred, {reason::deferred, reason::greylisted, reason::throttled});
    is(verdict_class::refused, {reason::client_refused, reason::auth_required, reason::policy});
    is(verdict_class::unreachable,
       {reason::dns_unavailable,
        reason::connect_failed,
        reason::timed_out,
        reason::disconnected,
        reason::protocol_error,
        reason::no_usable_host,
        reason::loop,
        reason::host_penalty,
        reason::overloaded,
        reason::smtputf8});
    is(verdict_class::insecure,
       {reason::tls_not_offered, reason::tls_failed, reason::certificate, reason::dane_failed});
    is(verdict_class::skipped,
       {reason::not_in_scope, reason::exempt, reason::local, reason::alias, reason::off});
}

TEST_CASE("only what is about the recipient alone serves other senders") {
    const auto undeliverable = verdict_class::undeliverable;
    CHECK(about_recipient_alone(
        made(verdict_class::deliverable, reason::accepted, reply{250, {"2.1.5 OK"}})));
    CHECK(
        about_recipient_alone(made(undeliverable, reason::unknown_user, reply{550, {"5.1.1 x"}})));
    CHECK(about_recipient_alone(made(undeliverable, reason::disabled, reply{550, {"5.2.1 x"}})));
    CHECK(about_recipient_alone(made(undeliverable, reason::no_such_domain)));
    CHECK(about_recipient_alone(made(undeliverable, reason::null_mx)));
    CHECK(about_recipient_alone(made(undeliverable, reason::bad_address)));

    CHECK_FALSE(
        about_recipient_alone(made(undeliverable, reason::unknown_user, reply{550, {"x"}})));
    CHECK_FALSE(
        about_recipient_alone(made(undeliverable, reason::unknown_user, reply{550, {"5.4.1 x"}})));
    CHECK_FALSE(
        about_recipient_alone(made(undeliverable, reason::mailbox_full, reply{552, {"5.2.2 x"}})));
    CHECK_FALSE(
        about_recipient_alone(made(undeliverable, reason::unknown_user, reply{550, {"5.7.1 x"}})));
    for (int c = 0; c <= last_class; ++c) {
        const auto other = static_cast<verdict_class>(c);
        if (other == verdict_class::deliverable || other == undeliverable) continue;
        CHECK_FALSE(about_recipient_alone(made(other, reason::policy, reply{550, {"5.1.1 x"}})));
    }
}

TEST_CASE("a destination has one text for equal hops in equal order") {
    std::string error;
    const auto hop = [&](std::string_view text) {
        const auto parsed = parse_next_hop(text, error);
        REQUIRE(parsed);
        return *parsed;
    };
    CHECK(destination{true, {}}.text() == "mx");
    CHECK(destination{false, {hop("[A.example]:25"), hop("192.0.2.1")}}.text() ==
          "[a.example]:25,[192.0.2.1]");
    CHECK(destination{false, {}}.text().empty());
}

}  // namespace callforward::smtpclient
