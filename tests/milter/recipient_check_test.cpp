#include "milter/recipient_check.h"

#include "milter/config.h"
#include "milter/log.h"
#include "smtpclient/printable.h"
#include "tests/milter/played_next_hop.h"

#include <doctest/doctest.h>

using namespace callforward;
using namespace callforward::milter;
using namespace std::chrono_literals;
using callforward::tests::played_next_hop;

namespace {

constexpr std::string_view rules = R"(rcpt nobody@* 550 5.1.1 no %r at mx.next.test
rcpt full@* 452 4.2.2 mailbox 100%% full
rcpt blocked@* 554 5.7.1 Blocked
rcpt slow@* DELAY 4000 250 ok
)";

// A RCPT of Postfix, from outside, whose next hop is host.
envelope to(const played_next_hop& host, const std::string& address) {
    envelope e;
    e.mta = {"Postfix 3.7.11", "mx.test"};
    e.client_address = "192.0.2.77";
    e.mail = "<alice@sender.test>";
    e.rcpt = '<' + address + '>';
    e.rcpt_mailer = "smtp";
    e.rcpt_host = host.route();
    e.rcpt_address = smtpclient::to_lower(address);
    return e;
}

class checked {
public:
    explicit checked(std::string_view configuration)
        : settings_(read(configuration)), engine_(*settings_, 1), check_(engine_, settings_) {
        log_settings quiet;
        quiet.level = log_level::error;
        log::open(quiet);
    }

    // "accept", or "reject 550 5.1.1 text".
    std::string operator()(const envelope& e) {
        const decision d = check_.check(e, [] { return true; });
        if (d.action == action::accept) return "accept";
        return std::string(to_string(d.action)) + ' ' + std::to_string(d.code) + ' ' + d.enhanced +
               ' ' + tests::without_trace_id(d.text);
    }
    void use(std::string_view configuration) { check_.use(read(configuration)); }
    [[nodiscard]] const recipient_check& parts() const { return check_; }

private:
    // In memory: what another test has left in the machine's /var/lib is no answer here.
    static std::shared_ptr<const settings> read(std::string_view configuration) {
        return std::make_shared<const settings>(
            parse_settings(configuration, "test.toml", {"cache.store=\"memory\""}));
    }

    std::shared_ptr<const settings> settings_;
    engine engine_;
    recipient_check check_;
};

}  // namespace

TEST_CASE("each class of answer is answered as configured") {
    const played_next_hop host(rules);
    checked check("");
    CHECK(check(to(host, "Known@a.test")) == "accept");
    CHECK(check(to(host, "nobody@a.test")) == "reject 550 5.1.1 no nobody@a.test at");
    CHECK(check(to(host, "full@a.test")) == "tempfail 452 4.2.2 mailbox 100% full");
    CHECK(check(to(host, "blocked@a.test")) == "tempfail 451 4.7.1 Blocked");
    CHECK(host.count("rcpt Known@a.test") == 1);

    checked otherwise(R"([policy]
on_undeliverable = "accept"
on_deferred = "reject"
on_refused = "reject"
reply_text = "neutral"
)");
    CHECK(otherwise(to(host, "nobody@a.test")) == "accept");
    CHECK(otherwise(to(host, "full@a.test")).starts_with("reject 552 5.2.2 Recipient address "));
    CHECK(otherwise(to(host, "blocked@a.test")).starts_with("reject 554 5.7.1 Recipient address "));
}

TEST_CASE("a next hop that is down puts off, or lets pass where that is wanted") {
    std::optional<played_next_hop> host(rules);
    const envelope e = to(*host, "nobody@a.test");
    host.reset();
    CHECK(checked("")(e).starts_with("tempfail 451 4.4.1 "));
    CHECK(checked("[policy]\non_unreachable = \"accept\"\n")(e) == "accept");
}

TEST_CASE("a socket that may not be opened is known by what was said of it") {
    smtpclient::destination to;
    std::string error;
    to.hops.push_back(*smtpclient::parse_next_hop("[192.0.2.1]:25", error));
    to.hops.push_back(*smtpclient::parse_next_hop("lmtp:unix:/private/lmtp", error));
    smtpclient::verdict v;
    v.finding = {smtpclient::verdict_class::unreachable, smtpclient::reason::connect_failed};
    v.detail = "connect to /private/lmtp: Permission denied";
    CHECK(forbidden_socket(v, to) == "/private/lmtp");
    v.finding.reason = smtpclient::reason::host_penalty;
    v.detail = "left alone for now: " + v.detail;
    CHECK(forbidden_socket(v, to) == "/private/lmtp");
    v.detail = "connect to /private/lmtp: Connection refused";
    CHECK(forbidden_socket(v, to).empty());
    v.detail = "connect to 192.0.2.1:25: Permission denied";
    CHECK(forbidden_socket(v, to).empty());
}

TEST_CASE("what is delivered here, or goes we know not where, is never asked about") {
    const played_next_hop host(rules);
    for (const char* configuration : {"", "[policy]\nroute = \"[127.0.0.1]:1\"\n"}) {
        checked check(configuration);
        for (const char* mailer : {"local", "virtual", "error", "discard", "LOCAL", ""}) {
            CAPTURE(mailer);
            auto e = to(host, "nobody@a.test");
            e.rcpt_mailer = mailer;
            CHECK(check(e) == "accept");
        }
        envelope bare;  // Postfix' non_smtpd_milters
        bare.rcpt = "nobody@a.test";
        bare.mail = "alice@sender.test";
        bare.client_address = "192.0.2.1";
        bare.rcpt_address = "nobody@a.test";
        CHECK(check(bare) == "accept");
    }
    checked check("");
    auto e = to(host, "nobody@a.test");
    e.rcpt_mailer = "unheard-of";
    CHECK(check(e) == "accept");
    checked named("[routing]\nmailers = { unheard-of = \"smtp\", archive = \"skip\" }\n");
    CHECK(named(e).starts_with("reject 550 5.1.1"));
    e.rcpt_mailer = "archive";
    CHECK(named(e) == "accept");
    CHECK(host.count("rcpt ") == 1);
}

TEST_CASE("what is exempt, out of scope, an alias or switched off is never asked about") {
    const played_next_hop host(rules);
    checked check(R"([scope]
domains = ["a.test", "b.test", "off.test"]
exempt_clients = ["192.0.2.0/28"]
exempt_recipients = ["postmaster", "boss@a.test"]
exempt_senders = ["friend.test", "<>"]
[routing]
virtual_aliases = ["list@a.test", "@b.test"]
[domain."off.test"]
mode = "off"
)");
    CHECK(check(to(host, "nobody@a.test")).starts_with("reject"));
    const auto with = [&](auto change) {
        auto e = to(host, "nobody@a.test");
        change(e);
        return check(e);
    };
    CHECK(with([](envelope& e) { e.client_address = "192.0.2.1"; }) == "accept");
    CHECK(with([](envelope& e) { e.client_address = "IPv6:::ffff:192.0.2.1"; }) == "accept");
    CHECK(with([](envelope& e) { e.client_address = ""; }) == "accept");
    CHECK(with([](envelope& e) { e.authenticated = "alice"; }) == "accept");
    CHECK(with([](envelope& e) { e.mail = "<x@FRIEND.test>"; }) == "accept");
    CHECK(with([](envelope& e) { e.mail = "<>"; }) == "accept");
    for (const char* exempt : {"Postmaster@a.test",
                               "BOSS@A.test",
                               "list@a.test",
                               "nobody@b.test",
                               "nobody@c.test",
                               "nobody@off.test"}) {
        CAPTURE(exempt);
        CHECK(check(to(host, exempt)) == "accept");
    }
    CHECK(host.count("rcpt ") == 1);
}

TEST_CASE("an address that is no mailbox is refused unasked, but only where it is in scope") {
    const played_next_hop host(rules);
    const auto bad = [&](const std::string& domain) {
        auto e = to(host, "x");
        e.rcpt = e.rcpt_address = "<a\r\nRSET@" + domain + '>';
        return e;
    };
    checked check(R"([scope]
domains = ["a.test", "watched.test", "off.test"]
[domain."watched.test"]
mode = "monitor"
[domain."off.test"]
mode = "off"
)");
    CHECK(check(bad("a.test")).starts_with("reject 553 5.1.3 "));
    CHECK(check(bad("watched.test")) == "accept");
    CHECK(check(bad("off.test")) == "accept");
    CHECK(check(bad("elsewhere.test")) == "accept");
    auto exempt = bad("a.test");
    exempt.authenticated = "alice";
    CHECK(check(exempt) == "accept");
    CHECK(host.events().empty());
    CHECK(checked("")(bad("<>")).starts_with("reject 553 5.1.3 "));
}

TEST_CASE("a local part alone is the MTA's own user, and not refused") {
    const played_next_hop host(rules);
    const std::string configuration = "[policy]\nroute = \"" + host.route() + "\"\n";
    checked check(configuration);
    checked nobody_is_exempt("[scope]\nexempt_recipients = []\n" + configuration);
    envelope e;  // of an MTA without the macros of the recipient
    e.client_address = "192.0.2.77";
    for (const char* const bare : {"<postmaster>", "<Postmaster>", "<abuse>", "<root>"}) {
        CAPTURE(bare);
        e.rcpt = bare;
        CHECK(check(e) == "accept");
        CHECK(nobody_is_exempt(e) == "accept");
    }
    for (const char* const none : {"<>", "<a b>", "<@>", "<@a.test:postmaster>"}) {
        CAPTURE(none);
        e.rcpt = none;
        CHECK(check(e).starts_with("reject 553 5.1.3 "));
    }
    CHECK(host.events().empty());
}

TEST_CASE("monitor asks and accepts whatever the answer is") {
    const played_next_hop host(rules);
    checked check("[policy]\nmode = \"monitor\"\n[domain.\"b.test\"]\nmode = \"enforce\"\n");
    CHECK(check(to(host, "nobody@a.test")) == "accept");
    CHECK(check(to(host, "nobody@b.test")).starts_with("reject 550"));
    CHECK(host.count("rcpt nobody@") == 2);
}

TEST_CASE("a domain's own table wins over the MTA's route") {
    const played_next_hop of_mta("");
    const played_next_hop own(rules);
    checked check("[domain.\"own.test\"]\nroute = [\"" + own.route() + "\"]\n");
    CHECK(check(to(of_mta, "nobody@own.test")).starts_with("reject 550"));
    CHECK(check(to(of_mta, "nobody@a.test")) == "accept");
}

TEST_CASE("the sender is the client's, nobody, or a fixed one") {
    const played_next_hop host("");
    CHECK(checked("")(to(host, "a@a.test")) == "accept");
    CHECK(checked("[policy]\nsender = \"null\"\n")(to(host, "b@a.test")) == "accept");
    CHECK(checked("[policy]\nsender = \"probe@mx.test\"\n")(to(host, "c@a.test")) == "accept");
    CHECK(host.count("mail alice@sender.test") == 1);
    CHECK(host.count("mail <>") == 1);
    CHECK(host.count("mail probe@mx.test") == 1);
}

TEST_CASE("when the time is up the RCPT is put off, and the next try has the answer") {
    const played_next_hop host(rules);
    checked check("[milter]\nanswer_within = \"500ms\"\n");
    CHECK(check(to(host, "slow@a.test")).starts_with("tempfail 450 4.2.0 "));
    for (int i = 0; i < 50; ++i) {
        if (check(to(host, "slow@a.test")) == "accept") break;
    }
    CHECK(check(to(host, "slow@a.test")) == "accept");
    CHECK(host.count("rcpt slow@") == 1);
}

TEST_CASE("how long a RCPT is held depends on the MTA, unless it is configured") {
    const settings automatic = tests::in_memory_settings();
    CHECK(recipient_check::answer_within(automatic, {"Postfix 3.7.11", ""}) == 12s);
    CHECK(recipient_check::answer_within(automatic, {"8.17.1.9", ""}) == 4s);
    CHECK(recipient_check::answer_within(automatic, {"", ""}) == 4s);
    const settings fixed = parse_settings("[milter]\nanswer_within = \"7s\"\n", "test.toml");
    CHECK(recipient_check::answer_within(fixed, {"Postfix 3.7.11", ""}) == 7s);
    CHECK(recipient_check::answer_within(fixed, {"8.17.1.9", ""}) == 7s);
    checked check("");
    CHECK(check.parts().longest_wait() == 12s);
    check.use("[milter]\nanswer_within = \"7s\"\n");
    CHECK(check.parts().longest_wait() == 7s);
}

TEST_CASE("a reload counts for the next RCPT") {
    const played_next_hop host(rules);
    checked check("");
    CHECK(check(to(host, "nobody@a.test")).starts_with("reject"));
    check.use("[scope]\ndomains = [\"b.test\"]\n");
    CHECK(check(to(host, "nobody@a.test")) == "accept");
    CHECK(check(to(host, "nobody@b.test")).starts_with("reject"));
    check.use("[routing]\nmailers = { smtp = \"skip\" }\n");
    CHECK(check(to(host, "nobody@b.test")) == "accept");
    check.use("");
    CHECK(check(to(host, "nobody@b.test")).starts_with("reject"));
}
