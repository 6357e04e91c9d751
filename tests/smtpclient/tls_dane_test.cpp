// DANE (RFC 7672): which records count, and what they ask of a host.
#include "tests/smtpclient/caller.h"
#include "tests/smtpclient/tls_server.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace callforward::smtpclient;
using namespace callforward::testing;
using callforward::dns::tlsa;

namespace {

std::vector<std::uint8_t> bytes_of(const std::string& hexadecimal) {
    std::vector<std::uint8_t> bytes;
    for (std::size_t i = 0; i < hexadecimal.size(); i += 2)
        bytes.push_back(
            static_cast<std::uint8_t>(std::stoul(hexadecimal.substr(i, 2), nullptr, 16)));
    return bytes;
}

std::vector<std::uint8_t> key_of(const certificate& c) {
    return bytes_of(c.public_key_sha256());
}

std::vector<std::uint8_t> whole_of(const certificate& c) {
    return bytes_of(c.sha256());
}

tls_behaviour showing(const certificate& identity) {
    tls_behaviour how;
    how.identity = identity;
    return how;
}

certificate own_certificate(const std::string& name, validity when = validity::current) {
    certificate_wish wish;
    wish.dns_names = {name};
    wish.validity = when;
    return self_signed(wish);
}

void sign_all(fake_resolver& resolver) {
    for (const char* name : {"next.test", "mx.next.test", "host.hoster.test"}) resolver.sign(name);
}

// next.test has one MX, mx.next.test.
void usual_zone(caller& calls) {
    calls.resolver.mx("next.test", {{10, "mx.next.test"}});
    calls.resolver.address("mx.next.test", {"127.0.0.2"});
}

verdict ask(caller& calls,
            std::uint16_t port,
            tls_level level = tls_level::dane,
            bool catch_all_probe = false) {
    question q = question_to_mx(port);
    change(q, [&](transport& by) {
        by.tls.level = level;
        by.catch_all_probe = catch_all_probe;
    });
    verdict v = calls.ask(std::move(q));
    calls.finish();
    return v;
}

// And other.test has the same; of whose certificates a CA vouches, and all of it is signed.
void zone_of_two(caller& calls, const certificate_authority& ca) {
    usual_zone(calls);
    calls.resolver.mx("other.test", {{10, "mx.next.test"}});
    calls.resolver.tlsa("mx.next.test", {{2, 1, 1, key_of(ca.own())}});
    sign_all(calls.resolver);
    calls.resolver.sign("other.test");
}

// RFC 7672 section 3.1.2: the server sends the CA's, too.
certificate chained(const certificate_authority& ca, const certificate_wish& wish) {
    certificate leaf = ca.issue(wish);
    leaf.chain_pem = ca.pem();
    return leaf;
}

// "dane", "TLS", "clear", or the reason.
std::string in_short(const verdict& v) {
    CHECK(v.outcome() != outcome::undeliverable);
    if (v.outcome() != outcome::deliverable) return std::string(to_string(v.finding.reason));
    if (!v.tls) return "clear";
    return v.tls->verified ? v.tls->by : "TLS";
}

std::string with_records(const certificate& shown,
                         const std::vector<tlsa>& records,
                         tls_level level = tls_level::dane,
                         bool catch_all_probe = false) {
    tls_server server(showing(shown));
    caller calls;
    usual_zone(calls);
    calls.resolver.tlsa("mx.next.test", records);
    sign_all(calls.resolver);
    return in_short(ask(calls, server.port(), level, catch_all_probe));
}

std::size_t count(const std::vector<std::string>& all, const std::string& one) {
    return static_cast<std::size_t>(std::count(all.begin(), all.end(), one));
}

}  // namespace

TEST_CASE("usage 3 looks at neither names nor dates, with every selector and matching type") {
    const certificate c = own_certificate("else.where.test", validity::expired);
    CHECK(with_records(c, {{3, 1, 1, key_of(c)}}) == "dane");
    CHECK(with_records(c, {{3, 0, 1, whole_of(c)}}) == "dane");
    CHECK(with_records(c, {{3, 0, 0, c.der()}}) == "dane");
    CHECK(with_records(c, {{3, 1, 1, whole_of(c)}}) == "dane_failed");
    CHECK(with_records(c, {{3, 0, 1, key_of(c)}}) == "dane_failed");
}

TEST_CASE("usage 2 trusts a CA, and then names and dates count") {
    const certificate_authority ca("DANE CA");
    const auto record = [&](const certificate_authority& of) {
        return std::vector<tlsa>{{2, 1, 1, key_of(of.own())}};
    };
    certificate_wish wish;
    wish.dns_names = {"mx.next.test"};
    CHECK(with_records(chained(ca, wish), record(ca)) == "dane");
    CHECK(with_records(chained(ca, wish), record(certificate_authority("Other"))) == "dane_failed");
    wish.validity = validity::expired;
    CHECK(with_records(chained(ca, wish), record(ca)) == "dane_failed");
    wish.validity = validity::current;
    wish.dns_names = {"else.where.test"};
    CHECK(with_records(chained(ca, wish), record(ca)) == "dane_failed");
    // RFC 7672 section 3.2.2: the domain itself is good, too.
    wish.dns_names = {"next.test"};
    CHECK(with_records(chained(ca, wish), record(ca)) == "dane");
    CHECK(with_records(chained(ca, wish), record(ca), tls_level::may) == "dane");
    const std::string tested = with_records(chained(ca, wish), record(ca), tls_level::dane, true);
    CHECK(tested == "clear");  // of a host that takes anybody no TLS is told
}

TEST_CASE("usage 2 takes a certificate for what the domain is an alias of, where that is signed") {
    const certificate_authority ca("DANE CA");
    certificate_wish wish;
    wish.dns_names = {"real.test"};
    tls_server server(showing(chained(ca, wish)));
    caller calls;
    zone_of_two(calls, ca);
    calls.resolver.mx("real.test", {{10, "mx.next.test"}});
    calls.resolver.domain_alias("next.test", "real.test");
    calls.resolver.sign("next.test");
    CHECK(in_short(ask(calls, server.port())) == "dane");
    CHECK(in_short(calls.ask(question_to_mx(server.port(), "bob@other.test"))) == "dane_failed");
}

TEST_CASE("a session that was good for one domain's name is not used for another's") {
    const certificate_authority ca("DANE CA");
    certificate_wish wish;
    wish.dns_names = {"next.test"};
    tls_server server(showing(chained(ca, wish)));
    session_limits limits;
    limits.host_penalty = std::chrono::milliseconds{0};
    limits.idle_session = std::chrono::milliseconds{300};
    caller calls({}, limits);
    zone_of_two(calls, ca);
    CHECK(in_short(ask(calls, server.port())) == "dane");
    CHECK(in_short(calls.ask(question_to_mx(server.port(), "bob@other.test"))) == "dane_failed");
    CHECK(in_short(ask(calls, server.port())) == "dane");
}

TEST_CASE("records count only where DNSSEC vouches for MX, addresses and the records themselves") {
    const certificate c = own_certificate("mx.next.test");
    for (const std::string without : {"next.test", "mx.next.test"}) {
        CAPTURE(without);
        for (const tls_level level : {tls_level::may, tls_level::dane, tls_level::dane_only}) {
            tls_server server(showing(c));
            caller calls;
            usual_zone(calls);
            calls.resolver.sign(without == "next.test" ? "mx.next.test" : "next.test");
            // Not asked for: whatever it says would not be believed.
            const std::string result = in_short(ask(calls, server.port(), level));
            CHECK(result == (level == tls_level::dane_only ? "dane_failed" : "TLS"));
            CHECK(count(calls.resolver.asked(), "TLSA mx.next.test") == 0);
        }
    }
    tls_server server(showing(c));
    caller calls;
    usual_zone(calls);
    sign_all(calls.resolver);
    calls.resolver.tlsa("mx.next.test", {{3, 1, 1, whole_of(c)}});  // it would not match
    CHECK(in_short(ask(calls, server.port())) == "TLS");
}

TEST_CASE("the name that CNAMEs lead to comes first, then the one they begin with") {
    const certificate c = own_certificate("mx.next.test");
    const std::vector<tlsa> good{{3, 1, 1, key_of(c)}};
    const std::vector<tlsa> bad{{3, 1, 1, whole_of(c)}};
    for (const bool at_target : {true, false}) {
        CAPTURE(at_target);
        tls_server server(showing(c));
        caller calls;
        calls.resolver.mx("next.test", {{10, "mx.next.test"}});
        calls.resolver.address("host.hoster.test", {"127.0.0.2"});
        calls.resolver.alias("mx.next.test", "host.hoster.test");
        calls.resolver.tlsa("host.hoster.test", at_target ? good : std::vector<tlsa>{});
        calls.resolver.tlsa("mx.next.test", at_target ? bad : good);
        sign_all(calls.resolver);
        CHECK(in_short(ask(calls, server.port())) == "dane");
        // RFC 7672 section 8.1: SNI is the base domain.
        CHECK(server.server_names() ==
              std::vector<std::string>{at_target ? "host.hoster.test" : "mx.next.test"});
    }
}

TEST_CASE("a host whose look-up fails is passed over for the next one") {
    const certificate c = own_certificate("mx.next.test");
    tls_server first(showing(c));
    tls_server second(showing(c), "127.0.0.3:" + std::to_string(first.port()));
    caller calls;
    calls.resolver.mx("next.test", {{10, "mx.next.test"}, {20, "mx2.next.test"}});
    calls.resolver.address("mx.next.test", {"127.0.0.2"});
    calls.resolver.address("mx2.next.test", {"127.0.0.3"});
    calls.resolver.tlsa_unavailable("mx.next.test");
    sign_all(calls.resolver);
    // The second one's zone is not signed: no DANE there.
    const verdict v = ask(calls, first.port());
    CHECK(in_short(v) == "TLS");
    CHECK(v.host == "mx2.next.test");
    CHECK(first.connections() == 0);
}

TEST_CASE("a configured host needs no MX for DANE, and an address can have none") {
    const certificate c = own_certificate("mx.next.test");
    tls_server server(showing(c));
    const std::string port = ":" + std::to_string(server.port());
    const auto ask_hop = [&](const std::string& hop, tls_level level) {
        caller calls;
        calls.resolver.address("mx.next.test", {"127.0.0.2"});
        calls.resolver.tlsa("mx.next.test", {{3, 1, 1, key_of(c)}});
        sign_all(calls.resolver);
        question q = simple_question();
        set_hop(q, hop);
        change(q, [&](transport& by) { by.tls.level = level; });
        const verdict v = calls.ask(std::move(q));
        calls.finish();
        return in_short(v);
    };
    CHECK(ask_hop("[mx.next.test]" + port, tls_level::dane) == "dane");
    CHECK(ask_hop("127.0.0.2" + port, tls_level::dane) == "TLS");
    CHECK(ask_hop("127.0.0.2" + port, tls_level::dane_only) == "dane_failed");
}

TEST_CASE("under DANE a session is resumed while the records are the same, and only then") {
    const certificate c = own_certificate("mx.next.test");
    tls_server server(showing(c));
    caller calls;
    usual_zone(calls);
    calls.resolver.tlsa("mx.next.test", {{3, 1, 1, key_of(c)}});
    sign_all(calls.resolver);
    for (int i = 0; i < 2; ++i) CHECK(in_short(ask(calls, server.port())) == "dane");
    CHECK(server.resumed() == 1);
    calls.resolver.tlsa("mx.next.test", {{3, 0, 1, whole_of(c)}});
    sign_all(calls.resolver);
    CHECK(in_short(ask(calls, server.port())) == "dane");
    CHECK(server.resumed() == 1);
    calls.resolver.tlsa("mx.next.test", {{3, 1, 1, whole_of(c)}});
    sign_all(calls.resolver);
    CHECK(in_short(ask(calls, server.port())) == "dane_failed");
    CHECK(server.resumed() == 1);
}

TEST_CASE("levels that ask for something else do not ask for TLSA") {
    const certificate c = own_certificate("mx.next.test");
    for (const tls_level level : {tls_level::none, tls_level::encrypt}) {
        tls_server server(showing(c));
        caller calls;
        usual_zone(calls);
        sign_all(calls.resolver);
        CHECK(in_short(ask(calls, server.port(), level)) ==
              (level == tls_level::none ? "clear" : "TLS"));
        CHECK(count(calls.resolver.asked(), "TLSA mx.next.test") == 0);
    }
}
