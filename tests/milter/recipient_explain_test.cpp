// The story that `callforward explain` tells, and the id that a refusal carries.
#include "milter/config.h"
#include "milter/control/values.h"
#include "milter/explain_request.h"
#include "milter/log.h"
#include "milter/recipient_check.h"
#include "tests/milter/played_next_hop.h"
#include "tests/support/comes_true.h"
#include "tests/support/temporary_folder.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>

using namespace callforward;
using namespace callforward::milter;
using namespace std::chrono_literals;
using callforward::testing::comes_true;
using callforward::tests::played_next_hop;

namespace {

constexpr std::string_view rules =
    "rcpt known* 250 2.1.5 ok\nrcpt odd* 554 5.7.1 odd\n"
    "rcpt * 550 5.1.1 no such user\n";

class explained {
public:
    explicit explained(const std::string& configuration = {})
        : settings_(std::make_shared<const settings>(
              parse_settings("[cache]\nstore = \"memory\"\n" + configuration, "test.toml"))),
          engine_(*settings_, 1),
          check_(engine_, settings_) {
        log_settings quiet;
        quiet.level = log_level::error;
        log::open(quiet);
    }

    story explain(const std::string& rcpt, bool dry = false, const std::string& client = {}) {
        std::string problem;
        const auto e = envelope_of({.rcpt = rcpt,
                                    .from = "s@sender.test",
                                    .client = client,
                                    .mta_route = "smtp:" + hop.route()},
                                   problem);
        return check_.explain(e.value(), dry, 20s);
    }
    story explain(const envelope& e) { return check_.explain(e, false, 20s); }
    decision rcpt(const std::string& rcpt) {
        std::string problem;
        const auto e = envelope_of({.rcpt = rcpt, .mta_route = "smtp:" + hop.route()}, problem);
        return answered(e.value());
    }
    decision answered(const envelope& e) {
        return check_.check(e, [] { return true; });
    }
    [[nodiscard]] observations& seen() { return engine_.seen(); }

    played_next_hop hop{rules};

private:
    std::shared_ptr<const settings> settings_;
    engine engine_;
    recipient_check check_;
};

}  // namespace

TEST_CASE("A story has the dialogue, the rule that fired, and the very reply") {
    explained d;
    const story s = d.explain("nobody@a.test");
    CHECK(s.is_asked);
    CHECK(s.scope_rule.find("domains: *") != std::string::npos);
    CHECK(s.route == d.hop.route());
    CHECK(s.dialogue.find("C: MAIL FROM:<s@sender.test>") != std::string::npos);
    CHECK(s.dialogue.find("C: RCPT TO:<nobody@a.test>") != std::string::npos);
    CHECK(s.dialogue.find("S: 550 5.1.1 no such user") != std::string::npos);
    CHECK(s.dialogue.find("*: connected to") != std::string::npos);
    CHECK(s.reply_rule.find("5.1.x") != std::string::npos);
    CHECK(s.would.action == action::reject);
    CHECK(s.would.text == "no such user");
    CHECK(s.would_keep == 600s);
    CHECK(s.known_before.empty());
}

TEST_CASE("Explaining changes nothing that is known, and tells what was") {
    explained d;
    CHECK(d.explain("known@a.test").would.action == action::accept);
    CHECK(d.explain("known@a.test").known_before.empty());
    CHECK(d.seen().counts.now().total() == 0);
    CHECK(d.rcpt("known@a.test").action == action::accept);
    const story s = d.explain("known@a.test");
    REQUIRE(s.known_before.size() == 1);
    CHECK(d.hop.count("rcpt known@a.test") == 4);
}

TEST_CASE("While the next hop is out of reach the answer is told from what is known") {
    explained d;
    std::optional<played_next_hop> host(rules);
    std::string problem;
    const auto about = [&](const std::string& rcpt) {
        return envelope_of({.rcpt = rcpt, .mta_route = "smtp:" + host->route()}, problem).value();
    };
    const envelope known = about("known@a.test");
    const envelope nobody = about("nobody@a.test");
    const envelope other = about("other@a.test");
    CHECK(d.answered(known).action == action::accept);
    CHECK(d.answered(nobody).action == action::reject);
    CHECK(d.explain(known).answer_from == source::probe);
    host.reset();
    for (const envelope& e : {known, nobody, other}) {
        const story s = d.explain(e);
        CHECK(s.verdict->finding.verdict_class == smtpclient::verdict_class::unreachable);
        CHECK(s.would.action == d.answered(e).action);
        CHECK((s.answer_from == source::cache) == (e.rcpt != other.rcpt));
    }
}

TEST_CASE("What was refused last is not told to be accepted as it was before") {
    explained d(
        "deliverable = \"1s\"\nundetermined = \"1s\"\n[limits]\nhost_penalty = \"0s\"\n"
        "unknown_per_client = 0\n");
    std::string problem;
    const envelope e =
        envelope_of({.rcpt = "known@a.test", .mta_route = "smtp:" + d.hop.route()}, problem)
            .value();
    CHECK(d.answered(e).action == action::accept);
    d.hop.use("rcpt * CLOSE\n");
    CHECK(comes_true([&] { return d.explain(e).answer_from == source::stale; }));
    CHECK(d.explain(e).would.action == action::accept);
    d.hop.use("rcpt * 550 5.1.1 no such user\n");
    CHECK(comes_true([&] { return d.answered(e).action == action::reject; }));
    d.hop.use("rcpt * CLOSE\n");
    CHECK(comes_true([&] { return d.answered(e).action == action::tempfail; }));
    CHECK(d.explain(e).would.action == action::tempfail);
}

TEST_CASE("That a host is left alone for now stands where the dialogue would") {
    explained d;
    std::optional<played_next_hop> host(rules);
    std::string problem;
    const auto e = envelope_of({.rcpt = "u@a.test", .mta_route = "smtp:" + host->route()}, problem);
    host.reset();
    CHECK(d.explain(e.value()).verdict->finding.reason == smtpclient::reason::connect_failed);
    const story s = d.explain(e.value());
    CHECK(s.verdict->finding.reason == smtpclient::reason::host_penalty);
    CHECK(s.dialogue.find("is left alone for now") != std::string::npos);
}

TEST_CASE("That the policy's script failed is told") {
    const testing::temporary_folder folder;
    const auto story_of = [&](const std::string& script) {
        std::ofstream(folder.file("policy.lua")) << script;
        explained d("[policy]\nscript = \"" + folder.file("policy.lua") + "\"\n");
        return d.explain("known@a.test");
    };
    CHECK(story_of("function before() error('first') end").script_error.find("first") !=
          std::string::npos);
    const story s = story_of("function after() error('last') end");
    CHECK(s.script_error.find("last") != std::string::npos);
    CHECK(s.would.action == action::accept);
    CHECK(story_of("function before() end").script_error.empty());
}

TEST_CASE("A second story in a session that stands still has its beginning") {
    explained d;
    CHECK(d.explain("nobody@a.test").dialogue.find("EHLO") != std::string::npos);
    const story s = d.explain("known@a.test");
    CHECK(s.dialogue.find("opened before") != std::string::npos);
    CHECK(s.dialogue.find("C: EHLO") != std::string::npos);
    CHECK(s.dialogue.find("nobody@a.test") == std::string::npos);
    CHECK(s.dialogue.find("RCPT TO:<known@a.test>") != std::string::npos);
}

TEST_CASE("Dry connects to nobody") {
    explained d;
    const story s = d.explain("nobody@a.test", true);
    CHECK(s.is_asked);
    CHECK_FALSE(s.verdict);
    CHECK(s.dialogue.find("RCPT") == std::string::npos);
    CHECK(d.hop.events().empty());
}

TEST_CASE("What is delivered here is told with the mode of its domain") {
    explained d("[domain.\"watched.test\"]\nmode = \"monitor\"\n");
    std::string problem;
    const auto mode_of = [&](const std::string& rcpt) {
        const auto e = envelope_of({.rcpt = rcpt, .mta_route = "local:"}, problem);
        const story s = d.explain(e.value());
        CHECK(s.verdict->finding.reason == smtpclient::reason::local);
        CHECK(s.is_enforced == (s.by.mode == policy_mode::enforce));
        return s.by.mode;
    };
    CHECK(mode_of("u@a.test") == policy_mode::enforce);
    CHECK(mode_of("u@watched.test") == policy_mode::monitor);
}

TEST_CASE("An exemption is told with its rule, and nobody is asked") {
    explained d;
    const story s = d.explain("nobody@a.test", false, "127.0.0.1");
    CHECK_FALSE(s.is_asked);
    CHECK(s.scope_rule.find("exempt_clients: 127.0.0.0/8") != std::string::npos);
    CHECK(s.would.action == action::accept);
    CHECK(d.hop.events().empty());
}

TEST_CASE("An impossible address is told as its RCPT would be answered") {
    explained d("[scope]\ndomains = [\"!out.test\", \"*\"]\n");
    std::string problem;
    const auto told = [&](const std::string& rcpt) {
        const story s = d.explain(envelope_of({.rcpt = rcpt}, problem).value());
        return std::string(to_string(s.verdict->finding.reason)) + ' ' +
               std::to_string(s.would.code) + ' ' + s.would.enhanced;
    };
    for (const char* const rcpt :
         {"a b@one.test", "x(y)@one.test", "u@1.2.3", "a@b@c", "a@", "a b"}) {
        CAPTURE(rcpt);
        CHECK(told(rcpt) == "bad_address 553 5.1.3");
    }
    CHECK(told("a b@out.test") == "not_in_scope 0 ");
    CHECK(told("Postmaster") == "exempt 0 ");
    CHECK(told("zzzzzzz") == "local 0 ");
}

TEST_CASE("Each key of the policy says where it was written") {
    explained d("[policy]\nreply_text = \"neutral\"\n[domain.\"a.test\"]\nmode = \"monitor\"\n");
    const story s = d.explain("nobody@a.test");
    const auto j = control::to_json(s);
    const auto& keys = j.at("policy").at("keys");
    CHECK(j.at("policy").at("table") == "[domain.\"a.test\"]");
    CHECK(keys.at("mode").at("value") == "\"monitor\"");
    CHECK(keys.at("mode").at("from") == "[domain.\"a.test\"], test.toml:6");
    CHECK(keys.at("reply_text").at("from") == "[policy], test.toml:4");
    CHECK(keys.at("timeout").at("from") == "default");
    CHECK_FALSE(s.is_enforced);
    CHECK(j.at("decision").at("reply").get<std::string>().starts_with("550 5.1.1 "));
}

TEST_CASE("A local rule is named by its number") {
    explained d(
        "[[classify]]\ncode = 552\nas = \"policy\"\n[[classify]]\ncode = 554\nas = "
        "\"unknown_user\"\n");
    const story s = d.explain("odd@a.test");
    CHECK(s.reply_rule == "[[classify]] rule 2, as unknown_user");
    CHECK(s.would.action == action::reject);
}

TEST_CASE("A refusal carries an id, by which decision and dialogue are found") {
    explained d;
    const decision refused = d.rcpt("nobody@a.test");
    REQUIRE(refused.text.size() > 13);
    const std::string id = refused.text.substr(refused.text.size() - 11, 10);
    const auto number = parse_trace_id(id);
    REQUIRE(number);
    CHECK(tests::without_trace_id(refused.text) == "no such user");
    const auto decided = d.seen().recent.find(*number);
    REQUIRE(decided);
    CHECK(decided->rcpt.view() == "nobody@a.test");
    const auto said = d.seen().dialogues.of_id(*number);
    REQUIRE(said);
    CHECK(said->text.find("S: 550 5.1.1 no such user") != std::string::npos);
    CHECK(d.rcpt("known@a.test").text.empty());
    CHECK(d.rcpt("nobody@a.test").text != refused.text);
}

TEST_CASE("With its id a text stays within its limit") {
    decision d{action::reject, 550, "5.1.1", std::string(400, 'x')};
    add_trace_id(d, "abcdefg");
    CHECK(d.text.size() == 400);
    CHECK(d.text.ends_with("x (cf-abcdefg)"));
}

TEST_CASE("Mode monitor remembers what it would have refused") {
    explained d("[policy]\nmode = \"monitor\"\n");
    CHECK(d.rcpt("nobody@a.test").action == action::accept);
    CHECK(d.rcpt("known@a.test").action == action::accept);
    const auto sums = d.seen().monitored.since({}, "", std::chrono::system_clock::now());
    REQUIRE(sums.size() == 1);
    CHECK(sums.front().domain == "a.test");
    CHECK(sums.front().examples == std::vector<std::string>{"nobody@a.test"});
}
