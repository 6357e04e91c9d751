// MTA-STS from the TXT record over a real HTTPS server on the loopback to the mail exchanger.
#include "smtpclient/mta_sts.h"

#include "tests/smtpclient/caller.h"
#include "tests/smtpclient/tls_server.h"
#include "tests/support/temporary_folder.h"

#include <doctest/doctest.h>

#include <atomic>
#include <mutex>

using namespace callforward::smtpclient;
using namespace callforward::testing;
using namespace std::chrono_literals;

namespace {

// Answers every request with one response.
class web_host {
public:
    explicit web_host(const certificate& identity)
        : context_(server_context(identity)),
          server_([this](stream& peer, const misbehaving_server::pause&) { serve(peer); },
                  "127.0.0.4:0") {}

    void answer(const std::string& response) {
        const std::lock_guard hold(mutex_);
        response_ = response;
    }
    void publish(const std::string& policy, const std::string& type = "text/plain") {
        answer("HTTP/1.1 200 OK\r\nContent-Type: " + type + "\r\nContent-Length: " +
               std::to_string(policy.size()) + "\r\nConnection: close\r\n\r\n" + policy);
    }
    [[nodiscard]] std::uint16_t port() const { return server_.port(); }
    [[nodiscard]] std::size_t requests() const { return requests_; }
    [[nodiscard]] std::string first_line() const {
        const std::lock_guard hold(mutex_);
        return first_line_;
    }

private:
    void serve(stream& peer) {
        peer.expires_after(5s);
        if (peer.accept_tls(context_.get()) != stream_status::ok) return;
        std::string line;
        bool first = true;
        while (peer.read_line(line) == stream_status::ok && line != "\r\n") {
            const std::lock_guard hold(mutex_);
            if (first) first_line_ = line;
            first = false;
        }
        if (first) return;
        ++requests_;
        const std::lock_guard hold(mutex_);
        (void)peer.write(response_);
        peer.close_notify();
    }

    ssl_context context_;
    mutable std::mutex mutex_;
    std::string response_;
    std::string first_line_;
    std::atomic<std::size_t> requests_{0};
    misbehaving_server server_;  // last: its thread uses the rest
};

std::string policy_text(const std::string& mode,
                        const std::string& mx = "mx.next.test",
                        const std::string& max_age = "3600") {
    return "version: STSv1\nmode: " + mode + "\nmx: " + mx + "\nmax_age: " + max_age + "\n";
}

struct sts_world {
    sts_world() : sts_world("mta-sts.next.test") {}
    explicit sts_world(const std::string& web_name)
        : web(ca.issue(web_name)), calls({}, single_use(), fetcher()) {
        ca.write(ca_file());
        calls.resolver.mx("next.test", {{10, "mx.next.test"}});
        calls.resolver.address("mx.next.test", {"127.0.0.2"});
        calls.resolver.address("mta-sts.next.test", {"127.0.0.4"});
        announce("1");
    }
    [[nodiscard]] std::string ca_file() const { return folder.file("ca.pem"); }
    [[nodiscard]] sts_fetcher fetcher() {
        return [this](const std::string& domain,
                      const std::vector<callforward::dns::ip_address>& addresses) {
            ++fetches;
            return fetch_sts_policy_from({addresses, web.port(), ca_file()}, domain);
        };
    }
    void announce(const std::string& id) {
        calls.resolver.text("_mta-sts.next.test", {"v=STSv1; id=" + id});
    }
    // Asked by `may`, which alone would take any certificate.
    verdict ask(const tls_server& server) {
        question q = question_to_mx(server.port());
        change(q, [&](transport& by) {
            by.tls.mta_sts = true;
            by.tls.authorities = pem_file(ca_file(), ca.pem());
        });
        verdict v = calls.ask(std::move(q));
        calls.finish();
        return v;
    }

    temporary_folder folder;
    certificate_authority ca;
    std::atomic<int> fetches{0};
    web_host web;
    caller calls;
};

tls_behaviour showing(const certificate& identity) {
    tls_behaviour how;
    how.identity = identity;
    return how;
}

}  // namespace

TEST_CASE("under enforce a mail exchanger is verified by its name, over real HTTPS and TLS") {
    sts_world world;
    world.web.publish(policy_text("enforce"));
    tls_server good(showing(world.ca.issue("mx.next.test")));
    const verdict accepted = world.ask(good);
    CHECK(accepted.outcome() == outcome::deliverable);
    REQUIRE(accepted.tls);
    CHECK(accepted.tls->by == "ca");
    CHECK(world.web.first_line() == "GET /.well-known/mta-sts.txt HTTP/1.1\r\n");
    for (const auto& identity :
         {world.ca.issue("else.where.test"), certificate_authority().issue("mx.next.test")}) {
        tls_server bad(showing(identity));
        const verdict refused = world.ask(bad);
        CHECK(refused.outcome() == outcome::undetermined);
        CHECK(refused.finding.reason == reason::certificate);
        CHECK(bad.mail_in_clear() == 0);
    }
    tls_behaviour silent = showing(world.ca.issue("mx.next.test"));
    silent.offers = false;
    tls_server clear(silent);
    CHECK(world.ask(clear).finding.reason == reason::tls_not_offered);
    CHECK(world.fetches == 1);  // kept
}

TEST_CASE("under enforce a mail exchanger that the policy does not list is not asked") {
    sts_world world;
    world.web.publish(policy_text("enforce", "*.other.test"));
    tls_server server(showing(world.ca.issue("mx.next.test")));
    const verdict v = world.ask(server);
    CHECK(v.outcome() == outcome::undetermined);
    CHECK(v.finding == finding{verdict_class::insecure, reason::certificate});
    CHECK(v.detail ==
          "MTA-STS of next.test (enforce) does not list mx.next.test; the MTA-STS policy of "
          "next.test lists none of its mail exchangers");
    CHECK(server.connections() == 0);
}

TEST_CASE("testing and none change nothing but a word in the log") {
    for (const char* mode : {"testing", "none"}) {
        CAPTURE(mode);
        sts_world world;
        world.web.publish(policy_text(mode, "*.other.test"));
        tls_server server(showing(certificate_authority().issue("else.where.test")));
        const verdict v = world.ask(server);
        CHECK(v.outcome() == outcome::deliverable);
        REQUIRE(v.tls);
        CHECK_FALSE(v.tls->verified);
        const bool tested = std::string(mode) == "testing";
        CHECK(v.detail ==
              (tested ? "MTA-STS of next.test (testing) does not list mx.next.test" : ""));
        CHECK(world.fetches == 1);
    }
}

TEST_CASE("a document that is not as RFC 8461 wants it is no policy") {
    const std::string good = policy_text("enforce");
    const std::string head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
    struct row {
        std::string what;
        std::string response;
    };
    const std::vector<row> rows{
        {"not found", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"},
        {"a redirect",
         "HTTP/1.1 301 Moved\r\nLocation: https://mta-sts.next.test/x\r\nContent-Length: "
         "0\r\n\r\n"},
        {"another type",
         "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: " +
             std::to_string(good.size()) + "\r\n\r\n" + good},
        {"too large", head + "Connection: close\r\n\r\n" + good + std::string(70000, '\n')},
        {"garbage", "hello\r\n"},
        {"cut short", head + "Content-Length: 1000\r\n\r\n" + good},
    };
    for (const auto& r : rows) {
        CAPTURE(r.what);
        sts_world world;
        world.web.answer(r.response);
        tls_server server(showing(certificate_authority().issue("else.where.test")));
        const verdict v = world.ask(server);
        CHECK(v.outcome() == outcome::deliverable);
        CHECK(world.fetches == 1);
        CHECK(world.ask(server).outcome() == outcome::deliverable);
        CHECK(world.fetches == 1);  // left alone for five minutes
    }
}

TEST_CASE("a web host whose certificate is for another name gives no policy") {
    sts_world world("www.next.test");
    world.web.publish(policy_text("enforce", "*.other.test"));
    tls_server server(showing(world.ca.issue("mx.next.test")));
    CHECK(world.ask(server).outcome() == outcome::deliverable);
    CHECK(world.fetches == 1);
    CHECK(world.web.requests() == 0);
}

TEST_CASE("a policy outlives its record and failed fetches, and a new id brings a new one") {
    sts_world world;
    world.web.publish(policy_text("enforce"));
    tls_server server(showing(certificate_authority().issue("else.where.test")));
    CHECK(world.ask(server).finding.reason == reason::certificate);
    world.calls.resolver.text("_mta-sts.next.test", {});
    CHECK(world.ask(server).finding.reason == reason::certificate);
    world.announce("2");
    world.web.answer("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    CHECK(world.ask(server).finding.reason == reason::certificate);
    CHECK(world.fetches == 2);
    world.announce("1");
    CHECK(world.ask(server).finding.reason == reason::certificate);
    CHECK(world.fetches == 2);
}

TEST_CASE("a policy for no time at all still holds for those who have fetched it") {
    sts_world world;
    world.web.publish(policy_text("enforce", "mx.next.test", "0"));
    tls_server server(showing(certificate_authority().issue("else.where.test")));
    CHECK(world.ask(server).finding.reason == reason::certificate);
    CHECK(world.ask(server).finding.reason == reason::certificate);
    CHECK(world.fetches == 1);
}

TEST_CASE("a policy of the new id replaces the old one") {
    sts_world world;
    world.web.publish(policy_text("enforce"));
    tls_server server(showing(certificate_authority().issue("else.where.test")));
    CHECK(world.ask(server).finding.reason == reason::certificate);
    world.announce("2");
    world.web.publish(policy_text("none"));
    CHECK(world.ask(server).outcome() == outcome::deliverable);
    CHECK(world.fetches == 2);
}

TEST_CASE("a policy is not asked for where none is announced, or nobody wants it") {
    sts_world world;
    world.calls.resolver.text("_mta-sts.next.test", {});
    tls_server server(showing(world.ca.issue("mx.next.test")));
    CHECK(world.ask(server).outcome() == outcome::deliverable);
    question q = question_to_mx(server.port());
    const auto before = world.calls.resolver.asked().size();
    CHECK(world.calls.ask(std::move(q)).outcome() == outcome::deliverable);
    const auto& asked = world.calls.resolver.asked();
    CHECK(std::find(asked.begin() + static_cast<std::ptrdiff_t>(before),
                    asked.end(),
                    "TXT _mta-sts.next.test") == asked.end());
    CHECK(world.fetches == 0);
}

TEST_CASE("DANE wins over MTA-STS") {
    sts_world world;
    world.web.publish(policy_text("enforce"));
    const certificate own = certificate_authority().issue("else.where.test");
    tls_server server(showing(own));
    std::vector<std::uint8_t> key;
    const std::string digits = own.public_key_sha256();
    for (std::size_t i = 0; i < digits.size(); i += 2)
        key.push_back(static_cast<std::uint8_t>(std::stoul(digits.substr(i, 2), nullptr, 16)));
    world.calls.resolver.tlsa("mx.next.test", {{3, 1, 1, key}});
    world.calls.resolver.sign("next.test");
    world.calls.resolver.sign("mx.next.test");
    const verdict v = world.ask(server);
    CHECK(v.outcome() == outcome::deliverable);
    REQUIRE(v.tls);
    CHECK(v.tls->by == "dane");
}

TEST_CASE("a look-up that nobody answers keeps the question no longer than it may take") {
    for (const char* const name : {"_mta-sts.next.test", "mta-sts.next.test"}) {
        CAPTURE(name);
        sts_world world;
        world.calls.resolver.silent(name);
        tls_server server(showing(world.ca.issue("mx.next.test")));
        question q = question_to_mx(server.port());
        change(q, [](transport& by) { by.tls.mta_sts = true; });
        end_within(q, 200ms);
        CHECK(world.calls.ask(std::move(q)).outcome() == outcome::undetermined);
        CHECK(world.fetches == 0);
    }
}

TEST_CASE("the web host is found at any of its addresses, where they may be used") {
    sts_world world;
    world.web.publish(policy_text("enforce", "*.other.test"));
    world.calls.resolver.address("mta-sts.next.test", {"127.0.0.77", "::1", "127.0.0.4"});
    tls_server server(showing(world.ca.issue("mx.next.test")));
    CHECK(world.ask(server).finding.reason == reason::certificate);
    CHECK(world.fetches == 1);
    CHECK(world.web.requests() == 1);
}

TEST_CASE("a policy is not fetched from the unspecified address, which is this machine's own") {
    sts_world world;
    world.web.publish(policy_text("enforce", "*.other.test"));
    world.calls.resolver.address("mta-sts.next.test", {"0.0.0.0", "::"});
    tls_server server(showing(world.ca.issue("mx.next.test")));
    CHECK(world.ask(server).outcome() == outcome::deliverable);
    CHECK(world.fetches == 0);
}
