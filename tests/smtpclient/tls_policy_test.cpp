#include "smtpclient/tls_policy.h"

#include "smtpclient/certificate.h"
#include "tests/support/certificates.h"

#include <doctest/doctest.h>

using namespace callforward::smtpclient;
using namespace callforward::testing;
using names = std::vector<std::string>;

TEST_CASE("what a certificate may be for is what Postfix's strategies say") {
    tls_policy p;
    p.level = tls_level::verify;
    CHECK(p.names_wanted("mx.next.test", "next.test") == names{"mx.next.test"});
    CHECK_FALSE(p.asks_for_nexthop());
    p.level = tls_level::secure;
    CHECK(p.names_wanted("mx.next.test", "next.test") == names{"next.test", ".next.test"});
    CHECK(p.asks_for_nexthop());
    p.match = {"hostname", "nexthop", "dot-nexthop", ".example.com", "mx.next.test"};
    CHECK(p.names_wanted("mx.next.test", "next.test") ==
          names{"mx.next.test", "next.test", ".next.test", ".example.com"});
    // A next hop that is an address has no name.
    CHECK(p.names_wanted("", "") == names{".example.com", "mx.next.test"});
    p.match = {"hostname"};
    CHECK(p.names_wanted("", "").empty());
    p.level = tls_level::encrypt;
    CHECK_FALSE(p.asks_for_nexthop());
}

TEST_CASE("a match is a strategy, a name or a suffix, and nothing else") {
    CHECK(parse_tls_match("dot-nexthop") == "dot-nexthop");
    CHECK(parse_tls_match("MX.Example.com.") == "mx.example.com");
    CHECK(parse_tls_match(".Example.com") == ".example.com");
    for (const char* wrong : {"", ".", "host", "*.example.com", "a b.c", "192.0.2.1", "..a.b"}) {
        CAPTURE(wrong);
        CHECK_FALSE(parse_tls_match(wrong));
    }
}

TEST_CASE("a fingerprint is read as openssl shows it") {
    const std::string digits(64, 'a');
    CHECK(parse_fingerprint(digits) == digits);
    CHECK(parse_fingerprint(with_colons(digits)) == digits);
    CHECK(with_colons("ab12") == "AB:12");
    for (const std::string& wrong : {std::string{}, digits + "a", digits.substr(2), "x" + digits}) {
        CHECK_FALSE(parse_fingerprint(wrong));
    }
}

TEST_CASE("two policies have the same text only when they are the same to a next hop") {
    const certificate_authority one;
    const certificate_authority other;
    const tls_policy usual;
    CHECK(usual.text() == "tls=may tls_min=1.2");
    const auto changed = [&](auto how) {
        tls_policy p;
        how(p);
        return p.text();
    };
    CHECK(changed([](auto& p) { p.level = tls_level::secure; }) != usual.text());
    CHECK(changed([](auto& p) { p.match = {"a.test"}; }) != usual.text());
    CHECK(changed([](auto& p) { p.fingerprints = {"ab"}; }) != usual.text());
    CHECK(changed([&](auto& p) { p.certificate = pem_file("c", one.pem()); }) != usual.text());
    const auto trusting = [&](const char* path, const std::string& pem) {
        return changed([&](auto& p) { p.authorities = pem_file(path, pem); });
    };
    CHECK(trusting("a", one.pem()) != usual.text());
    CHECK(trusting("a", one.pem()) != trusting("a", other.pem()));
    CHECK(trusting("a", one.pem()) == trusting("b", one.pem()));
}

TEST_CASE("PEM files are checked, and what is wrong with them said") {
    const certificate_authority ca;
    const certificate mine = ca.issue("client.test");
    CHECK(wrong_with_certificates(mine.pem) == "");
    CHECK(wrong_with_certificates("nothing\n").find("no certificate") != std::string::npos);
    CHECK(wrong_with_certificates(mine.key_pem).find("no certificate") != std::string::npos);
    CHECK(wrong_with_key(mine.key_pem, mine.pem) == "");
    CHECK(wrong_with_key(mine.pem, mine.pem).find("no private key") != std::string::npos);
    CHECK(wrong_with_key(ca.issue("b.test").key_pem, mine.pem).find("another certificate") !=
          std::string::npos);
    CHECK(wrong_with_key("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", mine.pem).find("passphrase") !=
          std::string::npos);
}

TEST_CASE("TLSA records are usable with usages 2 and 3, and data that fit their matching type") {
    const certificate one = certificate_authority().issue("mx.next.test");
    const std::vector<std::uint8_t> sha256(32);
    const std::vector<std::uint8_t> sha512(64);
    for (const int usage : {0, 1, 2, 3, 4, 255}) {
        CAPTURE(usage);
        const auto u = static_cast<std::uint8_t>(usage);
        const bool good = usage == 2 || usage == 3;
        CHECK(is_usable({u, 0, 1, sha256}) == good);
        CHECK(is_usable({u, 1, 2, sha512}) == good);
        CHECK(is_usable({u, 0, 0, one.der()}) == good);
    }
    CHECK_FALSE(is_usable({3, 2, 1, sha256}));
    CHECK_FALSE(is_usable({3, 1, 3, sha256}));
    CHECK_FALSE(is_usable({3, 1, 1, sha512}));
    CHECK_FALSE(is_usable({3, 1, 2, sha256}));
    CHECK_FALSE(is_usable({3, 1, 1, {}}));
    CHECK_FALSE(is_usable({3, 0, 0, {}}));
    CHECK_FALSE(is_usable({3, 1, 0, one.der()}));  // a certificate is no key
    auto longer = one.der();
    longer.push_back(0);
    CHECK_FALSE(is_usable({3, 0, 0, longer}));
}
