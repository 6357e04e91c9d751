// What every TLS level makes of everything that a server does: the table, against real TLS servers.
#include "tests/smtpclient/caller.h"
#include "tests/smtpclient/tls_server.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <future>
#include <iostream>
#include <sstream>

using namespace callforward::smtpclient;
using namespace callforward::testing;
using namespace std::chrono_literals;
using callforward::dns::tlsa;
using at_starttls = tls_behaviour::at_starttls;

namespace {

std::vector<std::uint8_t> bytes_of(const std::string& hexadecimal) {
    std::vector<std::uint8_t> bytes;
    for (std::size_t i = 0; i < hexadecimal.size(); i += 2)
        bytes.push_back(
            static_cast<std::uint8_t>(std::stoul(hexadecimal.substr(i, 2), nullptr, 16)));
    return bytes;
}

enum class dns_says { unsigned_zone, no_records, matching, other, unusable, failing };

struct server_kind {
    std::string name;
    tls_behaviour how;
    dns_says dns = dns_says::unsigned_zone;
};

struct identities {
    certificate_authority trusted{"Trusted CA"};
    certificate_authority other{"Private CA"};
    certificate good = trusted.issue("mx.next.test");
    certificate stranger = trusted.issue("else.where.test");

    [[nodiscard]] certificate outside(validity when) const {
        certificate_wish wish;
        wish.dns_names = {"mx.next.test"};
        wish.validity = when;
        return trusted.issue(wish);
    }
    [[nodiscard]] certificate without_intermediate() const {
        certificate leaf = trusted.intermediate("Intermediate CA").issue("mx.next.test");
        leaf.chain_pem.clear();
        return leaf;
    }
    [[nodiscard]] static certificate own() {
        certificate_wish wish;
        wish.dns_names = {"mx.next.test"};
        return self_signed(wish);
    }
};

tls_behaviour showing(const certificate& identity) {
    tls_behaviour how;
    how.identity = identity;
    return how;
}

std::vector<server_kind> kinds(const identities& of) {
    const auto doing = [&](at_starttls then) {
        tls_behaviour how = showing(of.good);
        how.then = then;
        return how;
    };
    tls_behaviour silent = showing(of.good);
    silent.offers = false;
    tls_behaviour unable = showing(of.good);
    unable.reply = "454 4.7.0 TLS not available";
    tls_behaviour old = showing(of.good);
    old.only_version = TLS1_VERSION;
    return {
        {"no STARTTLS", silent},
        {"STARTTLS 454", unable},
        {"bad handshake", doing(at_starttls::answer_garbage)},
        {"stall in handshake", doing(at_starttls::stall)},
        {"plaintext after 220", doing(at_starttls::inject)},
        {"TLS 1.0 only", old},
        {"good certificate", showing(of.good)},
        {"expired", showing(of.outside(validity::expired))},
        {"not yet valid", showing(of.outside(validity::not_yet))},
        {"wrong name", showing(of.stranger)},
        {"self-signed", showing(identities::own())},
        {"private CA", showing(of.other.issue("mx.next.test"))},
        {"no intermediate", showing(of.without_intermediate())},
        {"signed, no TLSA", showing(of.good), dns_says::no_records},
        {"matching TLSA", showing(identities::own()), dns_says::matching},
        {"non-matching TLSA", showing(of.good), dns_says::other},
        {"unusable TLSA", showing(of.good), dns_says::unusable},
        {"bogus DNSSEC", showing(of.good), dns_says::failing},
        {"TLSA, no STARTTLS", silent, dns_says::matching},
        {"unusable, no STARTTLS", silent, dns_says::unusable},
    };
}

void tell(fake_resolver& resolver, const server_kind& kind) {
    resolver.mx("next.test", {{10, "mx.next.test"}});
    resolver.address("mx.next.test", {"127.0.0.2"});
    if (kind.dns == dns_says::unsigned_zone) return;
    const auto key = bytes_of(kind.how.identity.public_key_sha256());
    auto wrong = key;
    wrong.front() ^= 1U;
    switch (kind.dns) {
        case dns_says::unsigned_zone:
            break;
        case dns_says::no_records:
            resolver.tlsa("mx.next.test", {});
            break;
        case dns_says::matching:
            resolver.tlsa("mx.next.test", {tlsa{3, 1, 1, wrong}, tlsa{3, 1, 1, key}});
            break;
        case dns_says::other:
            resolver.tlsa("mx.next.test", {tlsa{3, 1, 1, wrong}});
            break;
        case dns_says::unusable:
            resolver.tlsa("mx.next.test", {tlsa{1, 1, 1, key}, tlsa{3, 1, 9, key}});
            break;
        case dns_says::failing:
            resolver.tlsa_unavailable("mx.next.test");
            break;
    }
    resolver.sign("next.test");
    resolver.sign("mx.next.test");
}

bool stalls(const server_kind& kind) {
    return kind.how.then == at_starttls::stall;
}

// What becomes of a recipient whom the host takes.
std::string cell(const server_kind& kind, tls_level level, const identities& of) {
    CAPTURE(kind.name);
    CAPTURE(to_string(level));
    tls_server server(kind.how);
    caller calls;
    tell(calls.resolver, kind);
    question q = question_to_mx(server.port());
    change(q, [&](transport& by) {
        by.tls.level = level;
        by.tls.authorities = pem_file("trusted.pem", of.trusted.pem());
        by.tls.fingerprints = {of.good.sha256()};
        if (stalls(kind)) by.reply_timeout = 3s;  // of every reply, on the slowest machine
    });
    const verdict v = calls.ask(std::move(q));
    calls.finish();
    CHECK(v.outcome() != outcome::undeliverable);
    CHECK((v.finding.verdict_class == verdict_class::insecure) ==
          (usual_class(v.finding.reason) == verdict_class::insecure));
    if (v.outcome() != outcome::deliverable) return std::string(to_string(v.finding.reason));
    CHECK((server.mail_in_clear() > 0) == !v.tls.has_value());
    if (!v.tls) return "clear";
    return v.tls->verified ? v.tls->by : "TLS";
}

// Columns of equal width, so that the table can be read.
std::string table_of(const std::vector<server_kind>& rows, const identities& of) {
    std::ostringstream out;
    const auto put = [&](std::string text) {
        text.resize(std::max<std::size_t>(text.size() + 1, 16), ' ');
        out << text;
    };
    const auto end_line = [&] {
        std::string all = out.str();
        all.erase(all.find_last_not_of(' ') + 1);
        out.str(all + '\n');
        out.seekp(0, std::ios::end);
    };
    out << std::string(23, ' ');
    for (const auto name : tls_level_names()) put(std::string(name));
    end_line();
    for (const auto& kind : rows) {
        std::string name = kind.name;
        name.resize(23, ' ');
        out << name;
        // Who only waits can do so beside the others.
        const auto when = stalls(kind) ? std::launch::async : std::launch::deferred;
        std::vector<std::future<std::string>> cells;
        for (const auto name_of_level : tls_level_names()) {
            cells.push_back(std::async(
                when, cell, std::cref(kind), *parse_tls_level(name_of_level), std::cref(of)));
        }
        for (auto& each : cells) put(each.get());
        end_line();
    }
    return out.str();
}

// clang-format off
constexpr const char* expected = R"(
                       none            may             encrypt         dane            dane-only       fingerprint     verify          secure
no STARTTLS            clear           clear           tls_not_offered clear           dane_failed     tls_not_offered tls_not_offered tls_not_offered
STARTTLS 454           clear           clear           tls_failed      clear           dane_failed     tls_failed      tls_failed      tls_failed
bad handshake          clear           clear           tls_failed      clear           dane_failed     tls_failed      tls_failed      tls_failed
stall in handshake     clear           clear           tls_failed      clear           dane_failed     tls_failed      tls_failed      tls_failed
plaintext after 220    clear           protocol_error  protocol_error  protocol_error  dane_failed     protocol_error  protocol_error  protocol_error
TLS 1.0 only           clear           clear           tls_failed      clear           dane_failed     tls_failed      tls_failed      tls_failed
good certificate       clear           TLS             TLS             TLS             dane_failed     fingerprint     ca              ca
expired                clear           TLS             TLS             TLS             dane_failed     certificate     certificate     certificate
not yet valid          clear           TLS             TLS             TLS             dane_failed     certificate     certificate     certificate
wrong name             clear           TLS             TLS             TLS             dane_failed     certificate     certificate     certificate
self-signed            clear           TLS             TLS             TLS             dane_failed     certificate     certificate     certificate
private CA             clear           TLS             TLS             TLS             dane_failed     certificate     certificate     certificate
no intermediate        clear           TLS             TLS             TLS             dane_failed     certificate     certificate     certificate
signed, no TLSA        clear           TLS             TLS             TLS             dane_failed     fingerprint     ca              ca
matching TLSA          clear           dane            TLS             dane            dane            certificate     certificate     certificate
non-matching TLSA      clear           dane_failed     TLS             dane_failed     dane_failed     fingerprint     ca              ca
unusable TLSA          clear           TLS             TLS             TLS             dane_failed     fingerprint     ca              ca
bogus DNSSEC           clear           dane_failed     TLS             dane_failed     dane_failed     fingerprint     ca              ca
TLSA, no STARTTLS      clear           tls_not_offered tls_not_offered tls_not_offered tls_not_offered tls_not_offered tls_not_offered tls_not_offered
unusable, no STARTTLS  clear           tls_not_offered tls_not_offered tls_not_offered dane_failed     tls_not_offered tls_not_offered tls_not_offered
)";
// clang-format on

}  // namespace

TEST_CASE("every TLS level against everything that a server does") {
    const identities of;
    const std::string table = table_of(kinds(of), of);
    std::cout << table;
    CHECK(table == std::string(expected + 1));
}
