// One RCPT from the MTA's words to the answer, with a real next hop: what limits and interlock make
// of it.
#include "milter/log.h"
#include "milter/recipient_check.h"
#include "tests/milter/played_next_hop.h"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <thread>
#include <utility>

using namespace callforward;
using milter::action;
using milter::decision;
using milter::engine;
using milter::recipient_check;
using milter::settings;
using tests::played_next_hop;

namespace {

const std::string rules = "rcpt known* 250 2.1.5 ok\nrcpt * 550 5.1.1 no such user\n";
const std::string client = "192.0.2.1";

class checked {
public:
    explicit checked(const settings& s)
        : engine_(s, 1), check_(engine_, std::make_shared<const settings>(s)) {
        milter::log_settings quiet;
        quiet.level = milter::log_level::error;
        milter::log::open(quiet);
    }

    decision rcpt(const std::string& recipient, const std::string& from = client) {
        milter::envelope e;
        e.mta = {"Postfix 3.7.11", "mx.test"};
        e.client_address = from;
        e.mail = "<s@sender.test>";
        e.rcpt = '<' + recipient + '>';
        e.rcpt_mailer = "smtp";
        e.rcpt_host = hop.route();
        e.rcpt_address = recipient;
        decision d = check_.check(e, [] { return true; });
        d.text = tests::without_trace_id(d.text);
        return d;
    }
    int code(const std::string& recipient, const std::string& from = client) {
        return rcpt(recipient, from).code;
    }
    void use(const settings& s) {
        engine_.use(s);
        check_.use(std::make_shared<const settings>(s));
    }

    engine& asking() { return engine_; }

    played_next_hop hop{rules};

private:
    engine engine_;
    recipient_check check_;
};

settings unknown_at_most(std::size_t limit) {
    settings s = tests::in_memory_settings();
    s.limits.unknown_per_client = limit;
    return s;
}

std::string nobody(int n) {
    return "nobody" + std::to_string(n) + "@a.test";
}

}  // namespace

TEST_CASE("A client that names too many unknown recipients is sent away, and nobody is asked") {
    checked c(unknown_at_most(3));
    for (int i = 0; i < 3; ++i) CHECK(c.code(nobody(i)) == 550);
    CHECK(c.rcpt(nobody(3)) == milter::too_many_unknown());
    CHECK(c.rcpt("known@a.test") == milter::too_many_unknown());
    CHECK(c.rcpt("no mailbox") == milter::too_many_unknown());
    CHECK(c.hop.count("rcpt " + nobody(3) + ' ') == 0);
    CHECK(c.hop.count("rcpt known@a.test ") == 0);
    CHECK(c.code(nobody(3), "192.0.2.2") == 550);
    CHECK(c.rcpt("known@a.test", "192.0.2.2") == decision{});
}

TEST_CASE("Deliverable recipients and exempt clients are never counted") {
    checked c(unknown_at_most(3));
    for (int i = 0; i < 10; ++i) {
        CHECK(c.rcpt("known" + std::to_string(i) + "@a.test") == decision{});
        CHECK(c.rcpt(nobody(i), "127.0.0.1") == decision{});
        CHECK(c.rcpt("postmaster@a.test") == decision{});
    }
    CHECK(c.code(nobody(1)) == 550);
}

TEST_CASE("What memory knows counts as well") {
    checked c(unknown_at_most(3));
    for (int i = 0; i < 3; ++i) CHECK(c.code(nobody(1)) == 550);
    CHECK(c.code(nobody(1)) == 421);
    CHECK(c.hop.count("rcpt " + nobody(1) + ' ') == 1);
}

TEST_CASE(
    "What was refused in a closed domain is put off, though the domain has just been opened") {
    settings s = tests::in_memory_settings();
    s.cache.deliverable = std::chrono::seconds(0);
    s.interlock.canaries = {"canary@a.test"};
    s.interlock.flip_limit = 0;
    checked c(s);
    const auto canary = smtpclient::mailbox::parse("canary@a.test").value();
    CHECK(c.rcpt("canary@a.test") == milter::domain_suspended());
    REQUIRE(c.asking().is_suspended(canary));
    bool opens = true;
    c.asking().tell_of_waits([&] {
        if (!std::exchange(opens, false)) return;
        while (c.asking().pending() > 0) std::this_thread::yield();
        c.hop.use("rcpt * 250 2.1.5 ok\n");
        while (c.asking().is_suspended(canary)) static_cast<void>(c.rcpt("canary@a.test"));
    });
    CHECK(c.rcpt("new@a.test") == milter::domain_suspended());
    CHECK_FALSE(opens);
    CHECK_FALSE(c.asking().is_suspended(canary));
    CHECK(c.rcpt("new@a.test") == decision{});
}

TEST_CASE("In mode monitor a client beyond the limit is only logged") {
    settings s = unknown_at_most(2);
    s.default_policy.mode = milter::policy_mode::monitor;
    checked c(s);
    for (int i = 0; i < 5; ++i) CHECK(c.rcpt(nobody(i)) == decision{});
    CHECK(c.hop.count("rcpt " + nobody(1) + ' ') == 1);
    CHECK(c.hop.count("rcpt " + nobody(2) + ' ') == 0);
}

TEST_CASE("What is put off instead of rejected does not count") {
    settings s = unknown_at_most(2);
    s.default_policy.on_undeliverable = action::tempfail;
    checked c(s);
    for (int i = 0; i < 5; ++i) CHECK(c.code(nobody(i)) == 450);
}

TEST_CASE("A limit of 0 sends nobody away") {
    checked c(unknown_at_most(0));
    for (int i = 0; i < 30; ++i) CHECK(c.code(nobody(i)) == 550);
}

TEST_CASE("A suspended domain puts its unknown recipients off, and its client is not counted") {
    settings s = unknown_at_most(3);
    checked c(s);
    CHECK(c.code(nobody(1)) == 550);
    s.interlock.canaries = {"canary@a.test"};
    c.use(s);
    for (int i = 0; i < 10; ++i) CHECK(c.rcpt("canary@a.test") == milter::domain_suspended());
    CHECK(c.rcpt(nobody(1)) == milter::domain_suspended());
    CHECK(c.rcpt(nobody(2)) == milter::domain_suspended());
    CHECK(c.rcpt("known@a.test") == decision{});
    CHECK(c.code("nobody@b.test") == 550);
    s.interlock.canaries.clear();
    c.use(s);
    CHECK(c.code(nobody(1)) == 550);
}
