#include "milter/verdicts/record.h"

#include <doctest/doctest.h>

#include <string>

using namespace callforward;
using namespace std::chrono_literals;
using milter::verdicts::decode;
using milter::verdicts::digest;
using milter::verdicts::encode;
using milter::verdicts::hash_seed;
using milter::verdicts::head_of;
using milter::verdicts::record;
using milter::verdicts::wall_time;
using smtpclient::reason;
using smtpclient::stage;
using smtpclient::verdict_class;

namespace {

constexpr hash_seed seed{3, 4};
constexpr digest key{5, 6};

record sample() {
    record r;
    r.recipient = "U@a1.test";
    r.tags = {0x0706050403020107U, 0x88000008U};
    r.verdict.finding = {verdict_class::undeliverable, reason::unknown_user};
    r.verdict.stage = stage::rcpt;
    r.verdict.reply = smtpclient::reply{550, {"5.1.1 no", "5.1.1 such\ruser \xff"}};
    r.verdict.detail = "d";
    r.verdict.host = "mx.a1.test";
    r.verdict.address = "192.0.2.1";
    r.verdict.port = 25;
    r.verdict.tls = smtpclient::tls_summary{"TLSv1.3", "C", true, "dane"};
    r.verdict.next_hop_names = {"n1", "n2"};
    r.verdict.mx = {"m1"};
    r.learnt = wall_time{1700000000000ms};
    r.expires = r.learnt + 20min;
    r.repeats = 3;
    return r;
}

bool is_taken(const record& r) {
    return decode(encode(r, key, seed), key, seed).has_value();
}

}  // namespace

TEST_CASE("A record comes back as it was written") {
    const record r = sample();
    const auto bytes = encode(r, key, seed);
    const auto back = decode(bytes, key, seed);
    REQUIRE(back);
    CHECK(encode(*back, key, seed) == bytes);
    CHECK(back->recipient == r.recipient);
    CHECK(back->tags == r.tags);
    CHECK(back->verdict.finding == r.verdict.finding);
    CHECK(back->verdict.reply == r.verdict.reply);
    CHECK(back->verdict.tls->by == "dane");
    CHECK(back->verdict.next_hop_names == r.verdict.next_hop_names);
    CHECK(back->verdict.mx == r.verdict.mx);
    CHECK(back->learnt == r.learnt);
    CHECK(back->expires == r.expires);
    CHECK(back->repeats == 3);
    const auto head = head_of(bytes);
    REQUIRE(head);
    CHECK_FALSE(head->deliverable);
    CHECK(head->tags == r.tags);
    CHECK(head->expires == r.expires);
}

TEST_CASE("A record of another key or seed, cut, longer, or with any bit changed is none") {
    const auto bytes = encode(sample(), key, seed);
    CHECK_FALSE(decode(bytes, digest{5, 7}, seed));
    CHECK_FALSE(decode(bytes, key, hash_seed{3, 5}));
    CHECK_FALSE(decode(bytes + 'x', key, seed));
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        CHECK_FALSE(decode(bytes.substr(0, size), key, seed));
    }
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        auto changed = bytes;
        changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
        CHECK_FALSE(decode(changed, key, seed));
    }
}

TEST_CASE("Only what a call-forward could have found is taken") {
    CHECK(is_taken(sample()));
    auto r = sample();
    r.verdict.stage = stage::mail;
    CHECK_FALSE(is_taken(r));
    r = sample();
    r.verdict.finding = {verdict_class::undeliverable, reason::accepted};
    CHECK_FALSE(is_taken(r));
    r.verdict.finding = {verdict_class::unreachable, reason::timed_out};
    CHECK_FALSE(is_taken(r));
    r = sample();
    r.verdict.reply.reset();
    CHECK_FALSE(is_taken(r));
    r.verdict.finding.reason = reason::null_mx;
    CHECK(is_taken(r));
    r = sample();
    r.verdict.reply->code = 99;
    CHECK_FALSE(is_taken(r));
    r = sample();
    r.expires = r.learnt - 1ms;
    CHECK_FALSE(is_taken(r));
    r.expires = r.learnt + std::chrono::hours(24 * 36502);
    CHECK_FALSE(is_taken(r));
    r = sample();
    r.learnt = wall_time{-1ms};
    CHECK_FALSE(is_taken(r));
}

TEST_CASE("Whatever a peer said, what is kept of it can be written and read") {
    auto r = sample();
    r.verdict.reply->lines.assign(200, std::string(3000, 'x'));
    r.verdict.next_hop_names.assign(1000, std::string(70000, 'n'));
    r.verdict.mx = r.verdict.next_hop_names;
    r.verdict.host = r.verdict.address = r.verdict.detail = std::string(70000, 'h');
    r.verdict.tls = smtpclient::tls_summary{r.verdict.host, r.verdict.host, false, r.verdict.host};
    r.verdict = milter::verdicts::trimmed(r.verdict);
    CHECK(is_taken(r));
    CHECK(encode(r, key, seed).size() < 25000);
    r.verdict.finding = {verdict_class::deliverable, reason::accepted};
    r.verdict = milter::verdicts::trimmed(r.verdict);
    CHECK(is_taken(r));
    CHECK(encode(r, key, seed).size() < 2600);
}
