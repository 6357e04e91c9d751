// Which hosts a call-forward goes to, in which order, and when it stops.
#include "dns/ares_resolver.h"
#include "tests/smtpclient/caller.h"
#include "tests/smtpclient/misbehaving_server.h"
#include "tests/support/dns_server.h"
#include "tests/support/script_server.h"

#include <asio/co_spawn.hpp>
#include <doctest/doctest.h>

#include <optional>

using namespace callforward;
using namespace callforward::smtpclient;
using namespace callforward::testing;
using namespace std::chrono_literals;

namespace {

const std::string accepted = "deliverable accepted rcpt";
const std::string unknown_user = "undeliverable unknown_user rcpt";

std::string on(const std::string& address, std::uint16_t port) {
    return address + ':' + std::to_string(port);
}

script_server_options listening_on(const std::string& address) {
    script_server_options options;
    options.listen = address;
    options.identity = shared_identity();
    return options;
}

// next.test with two MX hosts on the loopback; the first behaves as a test says, the second
// accepts.
struct two_hosts {
    explicit two_hosts(const std::string& steps_of_first)
        : first(std::make_unique<script_server>(host_steps(steps_of_first),
                                                listening_on("127.0.0.2:0"))),
          second(host_saying("250 second"), listening_on(on("127.0.0.3", first->port()))),
          port(first->port()),
          patience(steps_of_first == "STALL" ? 5s : 30s) {
        calls.resolver.mx("next.test", {{20, "mx2.next.test"}, {10, "mx1.next.test"}});
        calls.resolver.address("mx1.next.test", {"127.0.0.2"});
        calls.resolver.address("mx2.next.test", {"127.0.0.3"});
    }
    verdict ask() {
        question q = question_to_mx(port);
        change(q, [this](transport& by) {
            by.reply_timeout = patience;
            by.connect_timeout = patience;
        });
        return calls.ask(std::move(q));
    }

    std::unique_ptr<script_server> first;
    script_server second;
    std::uint16_t port;
    std::chrono::milliseconds patience;
    caller calls;
};

reach denying() {
    reach r;
    r.deny = default_deny();
    return r;
}

const std::string until_rcpt = "S: 220 hi\nC: EHLO *\nS: 250 hi\nC: MAIL *\nS: 250 ok\nC: RCPT *\n";

}  // namespace

TEST_CASE("the best MX host is asked first, and its answer taken") {
    for (const auto& [reply, words] :
         {std::pair{"250 first", accepted},
          std::pair{"550 5.1.1 User unknown", unknown_user},
          std::pair{"550 5.7.1 blocked", std::string("undetermined policy rcpt")}}) {
        CAPTURE(reply);
        two_hosts hosts(until_rcpt + "S: " + reply);
        const verdict v = hosts.ask();
        CHECK(in_words(v.finding, v.stage) == words);
        CHECK(v.host == "mx1.next.test");
        CHECK(v.address == "127.0.0.2");
        CHECK(v.port == hosts.port);
        CHECK(v.mx == std::vector<std::string>{"mx1.next.test", "mx2.next.test"});
        CHECK(hosts.second.connections() == 0);
    }
}

TEST_CASE("after a host that gives no answer the next one is asked") {
    const std::vector<std::string> ways{
        "CLOSE",
        "S: 421 4.3.2 busy",
        "S: 554 5.7.1 not for you",
        "S: 450 later",
        "S: HTTP/1.1 400 Bad Request",
        "STALL",
        "S: 220 hi\nC: EHLO *\nS: 421 bye",
        "S: 220 hi\nC: EHLO *\nCLOSE",
        "S: 220 hi\nC: EHLO *\nS: 250 hi\nC: MAIL *\nS: 450 4.3.2 later",
        "S: 220 hi\nC: EHLO *\nS: 250 hi\nC: MAIL *\nRESET",
        until_rcpt + "S: 450 4.2.0 greylisted",
        until_rcpt + "S: 421 bye",
        until_rcpt + "S: 250 yes\nS: 550 5.1.1 no",
        until_rcpt + "CLOSE",
    };
    for (const auto& way : ways) {
        CAPTURE(way);
        two_hosts hosts(way);
        const verdict v = hosts.ask();
        CHECK(in_words(v.finding, v.stage) == accepted);
        CHECK(v.host == "mx2.next.test");
        CHECK(hosts.first->connections() == 1);
    }
}

TEST_CASE(
    "after a host that refuses the connection, or does not answer it, the next one is asked") {
    two_hosts refusing("CLOSE");
    refusing.first->stop();
    CHECK(refusing.ask().host == "mx2.next.test");

    const black_hole hole("127.0.0.2:0");
    script_server second(host_saying("250 second"), listening_on(on("127.0.0.3", hole.port())));
    caller calls;
    calls.resolver.mx("next.test", {{10, "mx1.next.test"}, {20, "mx2.next.test"}});
    calls.resolver.address("mx1.next.test", {"127.0.0.2"});
    calls.resolver.address("mx2.next.test", {"127.0.0.3"});
    question q = question_to_mx(hole.port());
    change(q, [](transport& by) { by.connect_timeout = 1s; });
    CHECK(calls.answer(std::move(q)) == accepted);
}

TEST_CASE(
    "when no host answers, the verdict is of the one that the conversation got furthest with") {
    two_hosts hosts(until_rcpt + "S: 451 4.7.1 Greylisted, come back");
    hosts.second.stop();
    const verdict v = hosts.ask();
    CHECK(in_words(v.finding, v.stage) == "undetermined greylisted rcpt");
    CHECK(v.host == "mx1.next.test");
}

TEST_CASE("a domain that does not exist, or takes no mail, makes the recipient undeliverable") {
    caller calls;
    calls.resolver.no_such_name("next.test");
    CHECK(calls.answer(question_to_mx(1)) == "undeliverable no_such_domain route");
    calls.resolver.mx("next.test", {{0, "."}});
    CHECK(calls.answer(question_to_mx(1)) == "undeliverable null_mx route");
    calls.resolver.mx("next.test", {});
    calls.resolver.address("next.test", {});
    CHECK(calls.answer(question_to_mx(1)) == "undeliverable no_such_domain route");
}

TEST_CASE("of a configured hop, that its domain does not exist is our problem") {
    caller calls;
    calls.resolver.no_such_name("hop.test");
    question q = simple_question();
    set_hop(q, "hop.test");
    CHECK(calls.answer(q) == "undetermined no_usable_host route");
    calls.resolver.mx("hop.test", {{0, "."}});
    CHECK(calls.answer(q) == "undetermined no_usable_host route");
    q.to.hops.clear();
    set_hop(q, "[hop.test]");
    CHECK(calls.answer(q) == "undetermined no_usable_host route");
}

TEST_CASE("what DNS does not answer leaves the recipient undetermined") {
    caller calls;
    calls.resolver.unavailable("next.test");
    CHECK(calls.answer(question_to_mx(1)) == "undetermined dns_unavailable route");
    calls.resolver.mx("next.test", {});
    CHECK(calls.answer(question_to_mx(1)) == "undetermined dns_unavailable route");
    calls.resolver.mx("next.test", {{10, "mx.next.test"}});
    calls.resolver.unavailable("mx.next.test");
    CHECK(calls.answer(question_to_mx(1)) == "undetermined dns_unavailable route");
    calls.resolver.no_such_name("mx.next.test");
    CHECK(calls.answer(question_to_mx(1)) == "undetermined no_usable_host route");
}

TEST_CASE("a domain without MX records is its own mail host") {
    script_server server(host_saying("250 ok"), listening_on("127.0.0.2:0"));
    caller calls;
    calls.resolver.mx("next.test", {});
    calls.resolver.address("next.test", {"127.0.0.2"});
    const verdict v = calls.ask(question_to_mx(server.port()));
    CHECK(in_words(v.finding, v.stage) == accepted);
    CHECK(v.host == "next.test");
    CHECK(v.mx == std::vector<std::string>{"next.test"});
}

TEST_CASE("a denied address is never contacted, however it is named") {
    const misbehaving_server victim(hang_up);
    const misbehaving_server six(hang_up, "[::1]:0");
    caller calls(denying());
    calls.resolver.mx("next.test", {{10, "mx.next.test"}});
    for (const char* const address :
         {"127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "169.254.169.254"}) {
        CAPTURE(address);
        calls.resolver.address("mx.next.test", {address});
        CHECK(calls.answer(question_to_mx(victim.port())) == "undetermined no_usable_host route");
    }
    calls.resolver.address("mx.next.test", {"::1"});
    CHECK(calls.answer(question_to_mx(six.port())) == "undetermined no_usable_host route");
    for (const char* const recipient :
         {"bob@[127.0.0.1]", "bob@127.0.0.1", "bob@[IPv6:::ffff:127.0.0.1]"}) {
        CAPTURE(recipient);
        CHECK(calls.answer(question_to_mx(victim.port(), recipient)) ==
              "undetermined no_usable_host route");
    }
    CHECK(calls.answer(question_to_mx(six.port(), "bob@[IPv6:::1]")) ==
          "undetermined no_usable_host route");
    question q = simple_question();
    set_hop(q, "[mx.next.test]:" + std::to_string(victim.port()));
    CHECK(calls.answer(q) == "undetermined no_usable_host route");
    CHECK(victim.connections() == 0);
    CHECK(six.connections() == 0);
}

TEST_CASE("a literal in a configured route is exempt from the denied networks") {
    script_server server(host_saying("250 ok"));
    caller calls(denying());
    question q = simple_question();
    set_hop(q, "[127.0.0.1]:" + std::to_string(server.port()));
    CHECK(calls.answer(q) == accepted);
}

TEST_CASE("a recipient's literal is contacted where it is not denied, without a look-up") {
    script_server server(host_saying("250 ok"), listening_on("127.0.0.2:0"));
    caller calls;
    CHECK(calls.answer(question_to_mx(server.port(), "bob@[127.0.0.2]")) == accepted);
    CHECK(calls.resolver.asked().empty());
}

TEST_CASE("this host and all behind it are dropped from a list of MX hosts") {
    script_server good(host_saying("450 later"), listening_on("127.0.0.2:0"));
    reach r;
    r.my_names = {"self.test"};
    caller calls(r);
    calls.resolver.mx("next.test", {{10, "good.test"}, {20, "self.test"}, {30, "behind.test"}});
    calls.resolver.address("good.test", {"127.0.0.2"});
    CHECK(calls.answer(question_to_mx(good.port())) == "undetermined deferred rcpt");
    calls.resolver.mx("next.test", {{10, "self.test"}, {30, "behind.test"}});
    CHECK(calls.answer(question_to_mx(good.port())) == "undetermined loop route");
    CHECK(calls.resolver.asked() ==
          std::vector<std::string>{"MX next.test", "A good.test", "MX next.test"});
}

TEST_CASE("the MTA that asks is this host among the MX hosts, by its own name") {
    caller calls;
    calls.resolver.mx("next.test", {{10, "gateway.test"}, {20, "behind.test"}});
    question q = question_to_mx(25);
    q.helo = "gateway.test";
    CHECK(calls.answer(std::move(q)) == "undetermined loop route");
    CHECK(calls.resolver.asked() == std::vector<std::string>{"MX next.test"});
}

TEST_CASE("an address of this host at port 25 is this host, whatever its name") {
    reach r;
    r.my_addresses = {dns::ip_address::parse("127.0.0.5").value()};
    caller calls(r);
    calls.resolver.mx("next.test", {{10, "alias.test"}, {20, "behind.test"}});
    calls.resolver.address("alias.test", {"127.0.0.5"});
    CHECK(calls.answer(question_to_mx(25)) == "undetermined loop route");
    CHECK(calls.resolver.asked() == std::vector<std::string>{"MX next.test", "A alias.test"});
    // By its literal, too.
    CHECK(calls.answer(question_to_mx(25, "bob@[127.0.0.5]")) == "undetermined loop route");
}

TEST_CASE("an address of this host at another port is a next hop like any other") {
    script_server server(host_saying("250 ok"), listening_on("127.0.0.5:0"));
    reach r;
    r.my_addresses = {dns::ip_address::parse("127.0.0.5").value()};
    caller calls(r);
    calls.resolver.mx("next.test", {{10, "alias.test"}});
    calls.resolver.address("alias.test", {"127.0.0.5"});
    CHECK(calls.answer(question_to_mx(server.port())) == accepted);
}

TEST_CASE("of a host with two families the one that answers is taken") {
    script_server server(host_saying("250 ok"), listening_on("127.0.0.1:0"));
    caller calls;
    calls.resolver.mx("next.test", {{10, "mx.next.test"}});
    calls.resolver.address("mx.next.test", {"::1", "127.0.0.1"});
    const verdict refused = calls.ask(question_to_mx(server.port()));
    CHECK(in_words(refused.finding, refused.stage) == accepted);
    CHECK(refused.address == "127.0.0.1");

    const black_hole hole("[::1]:0");
    script_server four(host_saying("250 ok"), listening_on(on("127.0.0.1", hole.port())));
    const verdict dropped = calls.ask(question_to_mx(hole.port()));
    CHECK(in_words(dropped.finding, dropped.stage) == accepted);
    CHECK(dropped.address == "127.0.0.1");
    CHECK(calls.took() < 20s);  // and not the connect timeout
}

TEST_CASE("the second address of a host is tried after a bad conversation with the first") {
    script_server bad(host_steps("S: 421 busy"), listening_on("127.0.0.2:0"));
    script_server good(host_saying("550 5.1.1 User unknown"),
                       listening_on(on("127.0.0.3", bad.port())));
    caller calls;
    calls.resolver.mx("next.test", {{10, "mx.next.test"}});
    calls.resolver.address("mx.next.test", {"127.0.0.2", "127.0.0.3"});
    CHECK(calls.answer(question_to_mx(bad.port())) == unknown_user);
}

TEST_CASE("200 dead MX hosts cost under 30 attempts and 60 look-ups") {
    const misbehaving_server dead(hang_up, "127.0.0.2:0");
    for (const std::size_t addresses_each : {std::size_t{1}, std::size_t{4}}) {
        caller calls;
        std::vector<std::pair<int, std::string>> hosts;
        for (int i = 0; i < 200; ++i) {
            const std::string name = "mx" + std::to_string(i) + ".next.test";
            hosts.emplace_back(i, name);
            calls.resolver.address(name, std::vector<std::string>(addresses_each, "127.0.0.2"));
        }
        calls.resolver.mx("next.test", hosts);
        const std::size_t before = dead.connections();
        CHECK(calls.answer(question_to_mx(dead.port())) == "undetermined disconnected greeting");
        CHECK(dead.connections() - before < 30);
        CHECK(calls.resolver.asked().size() * 2 < 60);  // A and AAAA
    }
}

TEST_CASE("200 MX hosts that refuse connections, or have no address, are given up as soon") {
    const std::uint16_t closed = local_port(listen_on("127.0.0.2:0"));
    for (const bool refusing : {true, false}) {
        caller calls;
        std::vector<std::pair<int, std::string>> hosts;
        for (int i = 0; i < 200; ++i) {
            const std::string name = "mx" + std::to_string(i) + ".next.test";
            hosts.emplace_back(i, name);
            if (refusing) {
                calls.resolver.address(name, {"127.0.0.2"});
            } else {
                calls.resolver.no_such_name(name);
            }
        }
        calls.resolver.mx("next.test", hosts);
        CHECK(calls.answer(question_to_mx(closed)) == (refusing
                                                           ? "undetermined connect_failed connect"
                                                           : "undetermined no_usable_host route"));
        CHECK(calls.resolver.asked().size() * 2 < 60);
    }
}

TEST_CASE("hops of a list are tried in order") {
    script_server first(host_steps("S: 421 busy"), listening_on("127.0.0.2:0"));
    script_server second(host_saying("550 5.1.1 User unknown"), listening_on("127.0.0.3:0"));
    script_server third(host_saying("250 ok"), listening_on("127.0.0.4:0"));
    caller calls(denying());
    question q = simple_question();
    set_hop(q, "[127.0.0.2]:" + std::to_string(first.port()));
    set_hop(q, "[127.0.0.3]:" + std::to_string(second.port()));
    set_hop(q, "[127.0.0.4]:" + std::to_string(third.port()));
    const verdict v = calls.ask(q);
    CHECK(in_words(v.finding, v.stage) == unknown_user);
    CHECK(v.address == "127.0.0.3");
    CHECK(third.connections() == 0);
}

TEST_CASE("SNI is the host's name") {
    script_server server(
        load_script(std::string(CALLFORWARD_TEST_SCRIPTS) + "/tls_may_offered.smtp"),
        listening_on("127.0.0.2:0"));
    caller calls;
    calls.resolver.mx("next.test", {{10, "mx.next.test"}});
    calls.resolver.address("mx.next.test", {"127.0.0.2"});
    const verdict v = calls.ask(question_to_mx(server.port()));
    CHECK(in_words(v.finding, v.stage) == accepted);
    REQUIRE(v.tls);
    CHECK(v.tls->version == "TLSv1.3");
    calls.finish();
    server.stop();
    CHECK(server.server_names() == std::vector<std::string>{"mx.next.test"});
}

TEST_CASE("an old TLS is refused under encrypt, and gone without under may") {
    for (const tls_level level : {tls_level::encrypt, tls_level::may}) {
        auto options = listening_on("127.0.0.2:0");
        options.only_tls_version = TLS1_VERSION;
        const std::string beginning =
            "S: 220 hi\nC: EHLO *\nS: 250-hi\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS";
        script_server server(
            host_steps(level == tls_level::may ? beginning + "\nNEXT\n" + until_rcpt + "S: 250 ok"
                                               : beginning),
            options);
        caller calls;
        question q = simple_question();
        set_hop(q, "127.0.0.2:" + std::to_string(server.port()));
        change(q, [&](transport& by) { by.tls.level = level; });
        CHECK(calls.answer(std::move(q)) ==
              (level == tls_level::may ? accepted : "undetermined tls_failed handshake"));
    }
}

TEST_CASE("whatever a peer does, the question ends by its deadline") {
    const std::vector<std::string> polite{"220 hi\r\n", "250 hi\r\n", "250 ok\r\n"};
    const std::vector<std::string> tls{"220 hi\r\n", "250-hi\r\n250 STARTTLS\r\n", "220 go\r\n"};
    const std::vector<std::pair<std::string, misbehaving_server::behaviour>> peers{
        {"greeting in single bytes", drip("", "220 hello this is a long greeting", 100ms)},
        {"continuation lines", drip("", "220-hi\r\n", 20ms)},
        {"silence", drip("", "", 1ms)},
        {"RCPT in single bytes",
         answer_then_drip({"220 hi\r\n", "250 hi\r\n", "250 ok\r\n", "2"}, "50 ok ", 100ms)},
        {"RCPT with continuation lines",
         answer_then_drip({"220 hi\r\n", "250 hi\r\n", "250 ok\r\n", ""}, "250-ok\r\n", 20ms)},
        {"a handshake that never begins", answer_then_drip(tls, "", 1ms)},
        {"a ServerHello in single bytes",
         answer_then_drip(tls, std::string("\x16\x03\x03\x40\x00\x02", 6), 100ms)},
    };
    for (const auto& [what, how] : peers) {
        CAPTURE(what);
        const misbehaving_server peer(how);
        caller calls;
        question q = simple_question();
        set_hop(q, "127.0.0.1:" + std::to_string(peer.port()));
        end_within(q, 600ms);
        CHECK(calls.answer(std::move(q)).starts_with("undetermined "));
    }
}

TEST_CASE("connections and look-ups that are not answered end by the deadline") {
    const black_hole hole;
    caller calls;
    question q = simple_question();
    set_hop(q, "127.0.0.1:" + std::to_string(hole.port()));
    end_within(q, 400ms);
    CHECK(calls.answer(q) == "undetermined timed_out connect");

    calls.resolver.silent("next.test");
    q = question_to_mx(25);
    end_within(q, 300ms);
    CHECK(calls.answer(q) == "undetermined dns_unavailable route");

    calls.resolver.mx("other.test", {{10, "mx.other.test"}});
    calls.resolver.silent("mx.other.test");
    q = question_to_mx(25, "bob@other.test");
    end_within(q, 300ms);
    CHECK(calls.answer(q) == "undetermined dns_unavailable route");
}

TEST_CASE("a question whose time is over is not asked at all") {
    const misbehaving_server server(hang_up);
    caller calls;
    question q = simple_question();
    set_hop(q, "127.0.0.1:" + std::to_string(server.port()));
    end_within(q, -1s);
    q.deadline += 1s;  // now
    CHECK(calls.answer(std::move(q)) == "undetermined timed_out route");
    CHECK(server.connections() == 0);
}

TEST_CASE("with the real resolver: order, failover, no such domain, SERVFAIL") {
    script_server second(host_saying("250 ok"), listening_on("127.0.0.3:0"));
    const test::dns_server names(
        "next.test MX 10 mx1.next.test\nnext.test MX 20 mx2.next.test\n"
        "mx1.next.test A 127.0.0.2\nmx2.next.test A 127.0.0.3\n"
        "null.test MX 0 .\nbroken.test SERVFAIL\nempty.test TTL 5\n");
    asio::io_context loop(1);
    dns::resolver_options options;
    options.servers = {names.address()};
    options.timeout = 2s;
    dns::ares_resolver resolver(loop.get_executor(), options);
    call_forward forward(loop.get_executor(), resolver, reach{}, single_use());
    const auto ask = [&](const std::string& recipient) {
        std::optional<verdict> got;
        auto call = forward.verify(question_to_mx(second.port(), recipient));
        asio::co_spawn(loop, std::move(call), [&](const std::exception_ptr& e, verdict v) {
            if (e) std::rethrow_exception(e);
            got = std::move(v);
        });
        loop.restart();
        loop.run();
        return in_words(got.value().finding, got->stage);
    };
    CHECK(ask("bob@next.test") == accepted);
    CHECK(ask("bob@null.test") == "undeliverable null_mx route");
    CHECK(ask("bob@nowhere.test") == "undeliverable no_such_domain route");
    CHECK(ask("bob@empty.test") == "undeliverable no_such_domain route");
    CHECK(ask("bob@broken.test") == "undetermined dns_unavailable route");
}

TEST_CASE("a local rule of the question speaks of a greeting, and new rules of the next one") {
    // Sessions and what is known of hosts are kept, as in the daemon.
    caller calls({}, session_limits{});
    const script_server server(
        host_steps("S: 554 5.7.1 bad reputation\nNEXT\n"
                   "S: 554 5.7.1 bad reputation\n"));
    const auto ask = [&](std::optional<reason> as) {
        question q = simple_question();
        set_hop(q, on("[127.0.0.1]", server.port()));
        change(q, [&](transport& by) {
            if (!as) return;
            std::string error;
            classify_rule rule;
            rule.stage = stage::greeting;
            rule.text = compile_pattern("reputation", error);
            rule.as = *as;
            by.rules = {rule};
        });
        return calls.answer(std::move(q));
    };
    CHECK(ask(reason::throttled) == "undetermined deferred greeting");
    CHECK(ask(std::nullopt) == "undetermined client_refused greeting");
    CHECK(server.connections() == 2);
}
