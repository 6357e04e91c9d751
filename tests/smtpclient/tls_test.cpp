// What the TLS levels prove, beyond the table: names, client certificates, resumption, and what is
// said about a certificate that is not accepted.
#include "smtpclient/certificate.h"
#include "tests/smtpclient/caller.h"
#include "tests/smtpclient/tls_server.h"

#include <doctest/doctest.h>
#include <openssl/ssl.h>

using namespace callforward::smtpclient;
using namespace callforward::testing;
using namespace std::chrono_literals;

namespace {

const certificate_authority& trusted() {
    static const certificate_authority ca("Trusted CA");
    return ca;
}

tls_behaviour showing(const certificate& identity) {
    tls_behaviour how;
    how.identity = identity;
    return how;
}

certificate issued_to(const std::vector<std::string>& names, bool alternative_names = true) {
    certificate_wish wish;
    wish.dns_names = names;
    wish.alternative_names = alternative_names;
    return trusted().issue(wish);
}

using change_of_policy = std::function<void(tls_policy&)>;

// next.test, whose MX is mx.next.test.
verdict ask_next_test(caller& calls, const tls_server& server, const change_of_policy& how) {
    calls.resolver.mx("next.test", {{10, "mx.next.test"}});
    calls.resolver.address("mx.next.test", {"127.0.0.2"});
    question q = question_to_mx(server.port());
    change(q, [&](transport& by) {
        by.tls.level = tls_level::verify;
        by.tls.authorities = pem_file("/trusted.pem", trusted().pem());
        how(by.tls);
    });
    return calls.ask(std::move(q));
}

// "ca", or the reason and what is said.
std::string result_of(const certificate& identity, const change_of_policy& how) {
    tls_server server(showing(identity));
    caller calls;
    const verdict v = ask_next_test(calls, server, how);
    calls.finish();
    if (v.outcome() == outcome::deliverable) return v.tls ? v.tls->by : "clear";
    CHECK(v.stage == stage::handshake);
    CHECK(v.outcome() == outcome::undetermined);
    return std::string(to_string(v.finding.reason)) + ": " + v.detail;
}

void as_it_is(tls_policy&) {}

}  // namespace

TEST_CASE("a certificate is for the names that it lists, a wildcard for one label, the left-most") {
    struct row {
        certificate identity;
        bool good;
    };
    const std::vector<row> rows{
        {issued_to({"mx.next.test"}), true},
        {issued_to({"other.test", "MX.next.TEST"}), true},
        {issued_to({"*.next.test"}), true},
        {issued_to({"*.test"}), false},
        {issued_to({"m*.next.test"}), false},
        {issued_to({"next.test"}), false},
        {issued_to({"a.mx.next.test"}), false},
        {issued_to({"mx.next.test"}, false), true},  // the common name, where there is no other
    };
    for (const auto& r : rows) {
        CAPTURE(r.identity.pem);
        const std::string result = result_of(r.identity, as_it_is);
        CHECK((result == "ca") == r.good);
        if (!r.good) CHECK(result.starts_with("certificate: the certificate is for "));
    }
}

TEST_CASE("secure wants the next hop's domain or a sub-domain of it, verify the host's name") {
    const auto secure = [](tls_policy& p) { p.level = tls_level::secure; };
    CHECK(result_of(issued_to({"next.test"}), secure) == "ca");
    CHECK(result_of(issued_to({"a.b.next.test"}), secure) == "ca");
    CHECK(result_of(issued_to({"*.next.test"}), secure) == "ca");
    CHECK(result_of(issued_to({"othernext.test"}), secure) ==
          "certificate: the certificate is for othernext.test; wanted is one for next.test or "
          ".next.test from a CA of /trusted.pem");
    const auto matching = [](std::vector<std::string> match) {
        return [match](tls_policy& p) { p.match = match; };
    };
    CHECK(result_of(issued_to({"next.test"}), matching({"nexthop"})) == "ca");
    CHECK(result_of(issued_to({"a.example.com"}), matching({"hostname", ".example.com"})) == "ca");
    CHECK(result_of(issued_to({"example.com"}), matching({".example.com"})) != "ca");
}

TEST_CASE("what is wrong with a certificate is said, and what was wanted") {
    const auto wish = [](validity when) {
        certificate_wish w;
        w.dns_names = {"mx.next.test"};
        w.validity = when;
        return w;
    };
    const auto says = [](const certificate& identity, const std::string& words) {
        const std::string result = result_of(identity, as_it_is);
        CAPTURE(result);
        CHECK(result.starts_with("certificate: " + words));
        CHECK(result.ends_with("; wanted is one for mx.next.test from a CA of /trusted.pem"));
    };
    says(trusted().issue(wish(validity::expired)), "the certificate expired on ");
    says(trusted().issue(wish(validity::not_yet)), "the certificate is not valid before ");
    says(self_signed(wish(validity::current)), "the certificate is self-signed");
    says(certificate_authority("Stranger").issue("mx.next.test"),
         "the issuer of the certificate is not known, and no intermediate certificate was sent "
         "with it (issuer CN = Stranger)");
    auto leaf = trusted().intermediate("Between").issue("mx.next.test");
    CHECK(result_of(leaf, as_it_is) == "ca");
    leaf.chain_pem.clear();
    says(leaf, "the issuer of the certificate is not known, and no intermediate certificate");
    says(certificate_authority("Stranger").intermediate("Between").issue("mx.next.test"),
         "the certificate comes from a CA that is not trusted (issuer CN = Between)");
    certificate_wish client = wish(validity::current);
    client.client_only = true;
    says(trusted().issue(client), "the certificate is not one of a server");
}

TEST_CASE("a next hop without a name can be verified by a name that is given") {
    tls_server server(showing(issued_to({"relay.example.com"})));
    for (const bool given : {false, true}) {
        caller calls;
        question q = simple_question();
        set_hop(q, "127.0.0.2:" + std::to_string(server.port()));
        change(q, [&](transport& by) {
            by.tls.level = tls_level::verify;
            by.tls.authorities = pem_file("/trusted.pem", trusted().pem());
            if (given) by.tls.match = {"relay.example.com"};
        });
        const verdict v = calls.ask(std::move(q));
        calls.finish();
        CHECK(v.finding.reason == (given ? reason::accepted : reason::certificate));
        if (!given) CHECK(v.detail.find("\"tls_match\"") != std::string::npos);
    }
}

TEST_CASE("a fingerprint is that of the certificate or of its key, whatever else is wrong") {
    certificate_wish wish;
    wish.dns_names = {"else.where.test"};
    wish.validity = validity::expired;
    const certificate identity = self_signed(wish);
    const auto with = [](const std::string& digits) {
        return [digits](tls_policy& p) {
            p.level = tls_level::fingerprint;
            p.fingerprints = {std::string(64, '0'), digits};
        };
    };
    CHECK(result_of(identity, with(identity.sha256())) == "fingerprint");
    CHECK(result_of(identity, with(identity.public_key_sha256())) == "fingerprint");
    const std::string other = result_of(identity, with(std::string(64, '1')));
    CHECK(other.starts_with("certificate: the certificate has fingerprint "));
    CHECK(other.find(callforward::smtpclient::with_colons(identity.sha256())) != std::string::npos);
}

TEST_CASE("a session is resumed for the next connection, in TLS 1.2 and 1.3") {
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        CAPTURE(version);
        tls_behaviour how = showing(issued_to({"mx.next.test"}));
        how.only_version = version;
        tls_server server(how);
        caller calls;
        for (int i = 0; i < 3; ++i) {
            const verdict v = ask_next_test(calls, server, as_it_is);
            REQUIRE(v.tls);
            CHECK(v.tls->verified);
            CHECK(v.tls->by == "ca");
            calls.finish();
        }
        CHECK(server.handshakes() == 3);
        CHECK(server.resumed() == 2);
    }
}

TEST_CASE("a session that was not verified is not resumed where verification is wanted") {
    tls_server server(showing(issued_to({"else.where.test"})));
    caller calls;
    const verdict opportunistic =
        ask_next_test(calls, server, [](tls_policy& p) { p.level = tls_level::may; });
    calls.finish();
    REQUIRE(opportunistic.tls);
    CHECK_FALSE(opportunistic.tls->verified);
    for (int i = 0; i < 2; ++i) {
        const verdict v = ask_next_test(calls, server, as_it_is);
        CHECK(v.finding.reason == reason::certificate);
        calls.finish();
    }
    CHECK(server.resumed() == 0);
    CHECK(server.mail_in_clear() == 0);
}

TEST_CASE("a client certificate is shown where one is asked for") {
    certificate_wish wish;
    wish.dns_names = {"client.test"};
    wish.client_only = true;
    const certificate mine = trusted().issue(wish);
    tls_behaviour how = showing(issued_to({"mx.next.test"}));
    how.client_authority = trusted().pem();
    tls_server server(how);
    for (const bool has_one : {false, true}) {
        caller calls;
        const verdict v = ask_next_test(calls, server, [&](tls_policy& p) {
            if (has_one) {
                p.certificate = pem_file("c.pem", mine.pem);
                p.key = pem_file("k.pem", mine.key_pem);
            }
        });
        calls.finish();
        CHECK((v.outcome() == outcome::deliverable) == has_one);
        CHECK(v.outcome() != outcome::undeliverable);
    }
    // Key and certificate in one file.
    caller calls;
    const verdict v = ask_next_test(calls, server, [&](tls_policy& p) {
        p.certificate = pem_file("c.pem", mine.pem + mine.key_pem);
    });
    CHECK(v.outcome() == outcome::deliverable);
    calls.finish();
}

TEST_CASE("authorities are read where a chain may have to be verified, and only there") {
    for (const auto name : tls_level_names()) {
        for (const bool mta_sts : {false, true}) {
            CAPTURE(name);
            CAPTURE(mta_sts);
            tls_policy policy;
            policy.level = parse_tls_level(name).value();
            policy.mta_sts = mta_sts;
            policy.authorities = pem_file("/trusted.pem", trusted().pem());
            const bool needed =
                mta_sts || policy.level == tls_level::verify || policy.level == tls_level::secure;
            const tls_context made(policy);
            X509_STORE* const store = SSL_CTX_get_cert_store(made.native());
            const int held = sk_X509_OBJECT_num(X509_STORE_get0_objects(store));
            CHECK(held == (needed ? 1 : 0));
            // One that was made for less is no use to those that need them.
            tls_policy other = policy;
            other.authorities = pem_file("/other.pem", certificate_authority().pem());
            CHECK((tls_context::key_of(other) != tls_context::key_of(policy)) == needed);
            tls_policy strict = policy;
            strict.level = tls_level::verify;
            CHECK((tls_context::key_of(strict) == tls_context::key_of(policy)) == needed);
        }
    }
}
