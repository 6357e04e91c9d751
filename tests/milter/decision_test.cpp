// INTERFACE section 5, row by row: what the MTA is told, with the exact codes.
#include "milter/decision.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

using namespace callforward;
using milter::action;
using milter::decide;
using milter::decision;
using smtpclient::reason;
using smtpclient::verdict;
using smtpclient::verdict_class;

namespace {

verdict verdict_of(verdict_class c, reason r, int code = 0, const std::string& text = "") {
    verdict v;
    v.finding = {c, r};
    if (code != 0) v.reply = smtpclient::reply{code, {text}};
    return v;
}

milter::policy policy_with(action a) {
    milter::policy p;
    p.on_undeliverable = p.on_sender_refused = p.on_deferred = a;
    p.on_refused = p.on_unreachable = p.on_insecure = a;
    return p;
}

// "550 5.1.1 text", or "accept".
std::string shown(const decision& d) {
    if (d.action == action::accept) return "accept";
    return std::to_string(d.code) + ' ' + d.enhanced + ' ' + d.text;
}

std::string codes(const decision& d) {
    return std::to_string(d.code) + ' ' + d.enhanced;
}

std::string told(const verdict& v) {
    return shown(decide(v, milter::policy{}, nullptr));
}

const std::vector<verdict_class> all_classes{verdict_class::deliverable,
                                             verdict_class::undeliverable,
                                             verdict_class::sender_refused,
                                             verdict_class::deferred,
                                             verdict_class::refused,
                                             verdict_class::unreachable,
                                             verdict_class::insecure,
                                             verdict_class::skipped};

}  // namespace

TEST_CASE("Deliverable and skipped are always accepted") {
    const auto strict = policy_with(action::reject);
    for (const reason r : {reason::accepted, reason::catch_all}) {
        const auto d =
            decide(verdict_of(verdict_class::deliverable, r, 250, "ok"), strict, nullptr);
        CHECK(d == decision{});
    }
    for (const reason r :
         {reason::not_in_scope, reason::exempt, reason::local, reason::alias, reason::off}) {
        CHECK(decide(verdict_of(verdict_class::skipped, r), strict, nullptr) == decision{});
    }
}

TEST_CASE("Each class follows its own key of the policy") {
    struct row {
        verdict_class c;
        action milter::policy::*key;
    };
    const std::vector<row> rows{{verdict_class::undeliverable, &milter::policy::on_undeliverable},
                                {verdict_class::sender_refused, &milter::policy::on_sender_refused},
                                {verdict_class::deferred, &milter::policy::on_deferred},
                                {verdict_class::refused, &milter::policy::on_refused},
                                {verdict_class::unreachable, &milter::policy::on_unreachable},
                                {verdict_class::insecure, &milter::policy::on_insecure}};
    for (const auto& r : rows) {
        for (const action a : {action::accept, action::tempfail, action::reject}) {
            auto p = policy_with(a == action::accept ? action::reject : action::accept);
            p.*r.key = a;
            CHECK(decide(verdict_of(r.c, reason::policy), p, nullptr).action == a);
        }
    }
}

TEST_CASE("By default an undeliverable recipient is rejected with the next hop's own words") {
    const auto c = verdict_class::undeliverable;
    CHECK(told(verdict_of(c, reason::unknown_user, 550, "5.1.1 No such user")) ==
          "550 5.1.1 No such user");
    CHECK(told(verdict_of(c, reason::unknown_user, 550, "No such user")) ==
          "550 5.1.1 No such user");
    CHECK(told(verdict_of(c, reason::unknown_user, 553, "sorry")) == "553 5.1.1 sorry");
    CHECK(told(verdict_of(c, reason::unknown_user, 554, "5.1.1 Bad")) == "554 5.1.1 Bad");
    CHECK(told(verdict_of(c, reason::unknown_user, 550, "5.1.10 RecipientNotFound")) ==
          "550 5.1.10 RecipientNotFound");
    CHECK(told(verdict_of(c, reason::unknown_user, 550, "5.4.1 Access denied")) ==
          "550 5.4.1 Access denied");
    CHECK(told(verdict_of(c, reason::unknown_user, 550, "4.1.1 No such user")) ==
          "550 5.1.1 No such user");
    CHECK(told(verdict_of(c, reason::unknown_user, 550, "2.1.5 odd")) == "550 5.1.5 odd");
    CHECK(told(verdict_of(c, reason::disabled, 550, "5.2.1 off")) == "550 5.2.1 off");
    CHECK(told(verdict_of(c, reason::moved, 551, "try elsewhere")) == "551 5.1.6 try elsewhere");
    CHECK(told(verdict_of(c, reason::mailbox_full, 552, "full")) == "552 5.2.2 full");
    CHECK(told(verdict_of(c, reason::no_such_domain)) ==
          "550 5.1.2 Recipient address rejected: domain not found");
    CHECK(told(verdict_of(c, reason::null_mx)) ==
          "556 5.1.10 Recipient address rejected: domain accepts no mail");
    CHECK(told(verdict_of(c, reason::bad_address)) ==
          "553 5.1.3 Recipient address rejected: not a valid address");
    CHECK(told(verdict_of(c, reason::unknown_user, 550, "")) ==
          "550 5.1.1 Recipient address rejected: user unknown");
}

TEST_CASE("By default a refused sender is rejected, and every doubt is a tempfail") {
    CHECK(told(verdict_of(
              verdict_class::sender_refused, reason::sender_refused, 550, "5.1.8 Bad domain")) ==
          "550 5.1.8 Bad domain");
    CHECK(told(verdict_of(verdict_class::sender_refused, reason::sender_refused, 554, "no")) ==
          "554 5.7.1 no");
    const auto deferred = verdict_class::deferred;
    CHECK(told(verdict_of(deferred, reason::deferred, 450, "later")) == "450 4.2.0 later");
    CHECK(told(verdict_of(deferred, reason::greylisted, 450, "4.7.1 Greylisted")) ==
          "450 4.7.1 Greylisted");
    CHECK(told(verdict_of(deferred, reason::greylisted, 451, "Greylisted")) ==
          "451 4.7.1 Greylisted");
    CHECK(told(verdict_of(deferred, reason::mailbox_full, 452, "full")) == "452 4.2.2 full");
    CHECK(told(verdict_of(deferred, reason::throttled, 451, "4.7.500 Busy")) == "451 4.7.500 Busy");
    CHECK(told(verdict_of(deferred, reason::deferred, 450, "5.1.1 soft")) == "450 4.1.1 soft");
    const auto refused = verdict_class::refused;
    CHECK(told(verdict_of(refused, reason::policy, 550, "5.7.1 no")) == "450 4.7.1 no");
    CHECK(told(verdict_of(refused, reason::policy, 554, "no")) == "451 4.7.1 no");
    CHECK(told(verdict_of(refused, reason::auth_required, 530, "TLS first")) ==
          "451 4.7.0 TLS first");
    CHECK(told(verdict_of(refused, reason::client_refused, 521, "5.3.2 no mail")) ==
          "451 4.3.2 no mail");
    const auto unreachable = verdict_class::unreachable;
    CHECK(told(verdict_of(unreachable, reason::connect_failed)) ==
          "451 4.4.1 Recipient address could not be verified: next hop unreachable, try again "
          "later");
    CHECK(told(verdict_of(unreachable, reason::deferred, 421, "4.7.0 Go away")) ==
          "451 4.7.0 Go away");
    CHECK(told(verdict_of(unreachable, reason::deferred, 450, "later")) == "450 4.4.1 later");
    CHECK(told(verdict_of(unreachable, reason::protocol_error, 501, "5.5.4 syntax")) ==
          "451 4.5.4 syntax");
    CHECK(told(verdict_of(unreachable, reason::protocol_error, 250, "2.1.0 ok")) ==
          "451 4.4.1 Recipient address could not be verified: next hop gave no usable answer, try "
          "again later");
    CHECK(told(verdict_of(unreachable, reason::overloaded)) ==
          "451 4.3.2 Recipient address could not be verified: too many verifications under way, "
          "try again later");
    CHECK(told(verdict_of(verdict_class::insecure, reason::certificate)) ==
          "451 4.7.5 Recipient address could not be verified: no secure connection to next hop, "
          "try again later");
}

TEST_CASE(
    "Without a reply every unreachable reason is 451 4.4.1 and every insecure one 451 4.7.5") {
    for (const auto name : smtpclient::reason_names()) {
        CAPTURE(name);
        const reason r = smtpclient::parse_reason(name).value();
        const auto far = decide(verdict_of(verdict_class::unreachable, r), {}, nullptr);
        CHECK(codes(far) == (r == reason::overloaded ? "451 4.3.2" : "451 4.4.1"));
        const auto insecure = decide(verdict_of(verdict_class::insecure, r), {}, nullptr);
        CHECK(codes(insecure) == "451 4.7.5");
        // Nothing is left out between "could not be verified" and "try again later".
        CHECK(told(verdict_of(smtpclient::usual_class(r), r)).find(": ,") == std::string::npos);
    }
}

TEST_CASE("A refusal answered by a tempfail, and a deferral answered by a reject, get a twin") {
    struct row {
        int given;
        int sent;
    };
    const auto soft = policy_with(action::tempfail);
    for (const auto& [given, sent] : std::vector<row>{{550, 450},
                                                      {553, 450},
                                                      {556, 450},
                                                      {551, 451},
                                                      {554, 451},
                                                      {552, 452},
                                                      {500, 451},
                                                      {521, 451},
                                                      {450, 450},
                                                      {459, 459},
                                                      {400, 400},
                                                      {421, 451},
                                                      {460, 451},
                                                      {599, 451}}) {
        const auto v =
            verdict_of(verdict_class::undeliverable, reason::unknown_user, given, "5.1.1 x");
        CHECK(codes(decide(v, soft, nullptr)) == std::to_string(sent) + " 4.1.1");
    }
    const auto hard = policy_with(action::reject);
    for (const auto& [given, sent] : std::vector<row>{{450, 550},
                                                      {451, 554},
                                                      {452, 552},
                                                      {454, 554},
                                                      {455, 555},
                                                      {421, 554},
                                                      {550, 550},
                                                      {500, 500},
                                                      {559, 559},
                                                      {599, 554}}) {
        const auto v = verdict_of(verdict_class::deferred, reason::deferred, given, "4.7.1 x");
        CHECK(codes(decide(v, hard, nullptr)) == std::to_string(sent) + " 5.7.1");
    }
}

TEST_CASE("What no next hop answered keeps its reason when the policy softens or hardens it") {
    const auto soft = policy_with(action::tempfail);
    const auto hard = policy_with(action::reject);
    const auto undeliverable = verdict_class::undeliverable;
    CHECK(codes(decide(verdict_of(undeliverable, reason::no_such_domain), soft, nullptr)) ==
          "450 4.1.2");
    CHECK(codes(decide(verdict_of(undeliverable, reason::null_mx), soft, nullptr)) == "450 4.1.10");
    CHECK(codes(decide(verdict_of(undeliverable, reason::bad_address), soft, nullptr)) ==
          "450 4.1.3");
    CHECK(codes(decide(verdict_of(verdict_class::unreachable, reason::timed_out), hard, nullptr)) ==
          "554 5.4.1");
    CHECK(codes(decide(verdict_of(verdict_class::insecure, reason::tls_failed), hard, nullptr)) ==
          "554 5.7.5");
}

TEST_CASE("What is answered without a verdict") {
    CHECK(codes(milter::still_pending()) == "450 4.2.0");
    CHECK(codes(milter::shutting_down()) == "451 4.3.0");
    CHECK(codes(milter::internal_error()) == "451 4.3.0");
    CHECK(codes(milter::too_many_unknown()) == "421 4.7.1");
    CHECK(codes(milter::domain_suspended()) == "450 4.3.0");
    for (const auto& d : {milter::still_pending(),
                          milter::shutting_down(),
                          milter::internal_error(),
                          milter::too_many_unknown(),
                          milter::domain_suspended()}) {
        CHECK(d.action == action::tempfail);
        CHECK_FALSE(d.text.empty());
    }
}

TEST_CASE("The text of a next hop tells neither its names nor its addresses") {
    auto v =
        verdict_of(verdict_class::undeliverable,
                   reason::unknown_user,
                   550,
                   "5.1.1 <u@example.com>: unknown at mx1.corp.test[10.0.0.5] (relay.corp.test)"
                   " for example.com, ask mx2.corp.test");
    v.host = "mx1.corp.test";
    v.address = "10.0.0.5";
    v.next_hop_names = {"relay.corp.test", "example.com"};
    v.mx = {"mx1.corp.test", "mx2.corp.test"};
    const auto recipient = smtpclient::mailbox::parse("u@Example.com");
    CHECK(decide(v, {}, &*recipient).text == "<u@example.com>: unknown at for example.com, ask");
    milter::policy neutral;
    neutral.reply_text = milter::reply_text::neutral;
    CHECK(shown(decide(v, neutral, &*recipient)) ==
          "550 5.1.1 Recipient address rejected: user unknown");
    v.reply->lines = {"5.1.1 [mx1.corp.test] (10.0.0.5)"};
    CHECK(decide(v, {}, &*recipient).text == "Recipient address rejected: user unknown");
}

TEST_CASE("A recipient at an address literal is told its own address, and no other") {
    auto v = verdict_of(
        verdict_class::undeliverable, reason::unknown_user, 550, "u@[10.0.0.5] not at 10.0.0.6");
    v.host = v.address = "10.0.0.5";
    v.next_hop_names = {"10.0.0.6"};
    const auto recipient = smtpclient::mailbox::parse("u@[10.0.0.5]");
    CHECK(decide(v, {}, &*recipient).text == "u@[10.0.0.5] not at");
}

TEST_CASE("All lines become one, a percent sign stays single, control bytes never leave") {
    auto v = verdict_of(verdict_class::undeliverable, reason::mailbox_full, 552, "");
    v.reply->lines = {"5.2.2 mailbox 100% full", "5.2.2 line\rtwo\x1b[0m\xc3\xbc", ""};
    CHECK(shown(decide(v, {}, nullptr)) == "552 5.2.2 mailbox 100% full line two?[0m??");
}

namespace {

// True when both MTAs take what d says, as it was meant. 421 closes the client's session, which is
// never meant by what a next hop said.
bool can_leave(const decision& d, bool may_end_session = false) {
    if (d.action == action::accept) return d == decision{};
    const int low = d.action == action::reject ? 500 : 400;
    return d.code >= low && d.code <= low + 59 && (d.code != 421 || may_end_session) &&
           d.enhanced.front() == (low == 500 ? '5' : '4') && !d.text.empty() &&
           d.text.size() <= 400 && std::all_of(d.text.begin(), d.text.end(), [](char byte) {
               return byte >= ' ' && byte <= '~';
           });
}

std::size_t count_wrong(const std::vector<std::optional<smtpclient::reply>>& replies) {
    const auto recipient = smtpclient::mailbox::parse("u@example.com");
    std::size_t wrong = 0;
    for (const auto name : smtpclient::reason_names()) {
        for (const auto c : all_classes) {
            for (const action a : {action::accept, action::tempfail, action::reject}) {
                const auto p = policy_with(a);
                verdict v = verdict_of(c, smtpclient::parse_reason(name).value());
                for (const auto& r : replies) {
                    v.reply = r;
                    wrong += can_leave(decide(v, p, &*recipient)) ? 0U : 1U;
                }
            }
        }
    }
    return wrong;
}

}  // namespace

TEST_CASE("Only a client with too many unknown recipients is told 421") {
    CHECK(can_leave(milter::too_many_unknown(), true));
    CHECK_FALSE(can_leave(milter::too_many_unknown()));
    for (const auto& d : {milter::still_pending(),
                          milter::shutting_down(),
                          milter::internal_error(),
                          milter::domain_suspended()}) {
        CHECK(can_leave(d));
    }
}

TEST_CASE("Whatever code a next hop sends, the reply that leaves agrees with itself") {
    std::vector<std::optional<smtpclient::reply>> replies{std::nullopt};
    for (int code = 200; code < 600; code += code < 400 ? 54 : 1) {
        replies.push_back(smtpclient::reply{code, {"4.2.1 no"}});
    }
    CHECK(count_wrong(replies) == 0);
}

TEST_CASE("Whatever text a next hop sends, one printable line of at most 400 bytes leaves") {
    std::string wild;
    for (int c = 0; c < 256; ++c) wild += static_cast<char>(c);
    std::vector<std::optional<smtpclient::reply>> replies;
    for (const int code : {250, 421, 450, 550}) {
        replies.push_back(smtpclient::reply{code, {"5.1.1 no", "4.2.1 " + wild}});
        replies.push_back(
            smtpclient::reply{code, {"999.1.1 " + wild + std::string(900, 'x'), "%s"}});
        replies.push_back(smtpclient::reply{code, {"2.0.0", "\r\n", "\x00"}});
        replies.push_back(smtpclient::reply{code, {}});
    }
    CHECK(count_wrong(replies) == 0);
}
