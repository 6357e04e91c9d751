#include "milter/verdicts/key.h"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

using namespace callforward;
using milter::verdicts::digest;
using milter::verdicts::hash_seed;
using milter::verdicts::question_key;
using milter::verdicts::seeded_hash;

namespace {

constexpr hash_seed seed{1, 2};

smtpclient::question question_of(const std::string& rcpt, const std::string& sender = "s@a.test") {
    smtpclient::question q;
    q.recipient = smtpclient::mailbox::parse(rcpt).value();
    q.sender = sender;
    q.to.recipient_mx = true;
    return q;
}

question_key key_of(const smtpclient::question& q, const std::string& fingerprint = "f") {
    return {q, fingerprint, seed};
}

}  // namespace

TEST_CASE("The hash is SipHash-1-3, keyed") {
    CHECK(seeded_hash("", {0, 0}) == 0xd1fba762150c532cU);
    CHECK(seeded_hash("abc", {0, 0}) != seeded_hash("abc", {0, 1}));
    CHECK(seeded_hash("abc", {0, 0}) != seeded_hash("abc", {1, 0}));
    std::set<std::uint64_t> hashes;
    std::string text;
    for (int length = 0; length < 64; ++length) {
        hashes.insert(seeded_hash(text, seed));
        text += '\0';
    }
    CHECK(hashes.size() == 64);
}

TEST_CASE("The digest is SipHash-2-4 with 128 bits") {
    const hash_seed reference{0x0706050403020100U, 0x0f0e0d0c0b0a0908U};
    CHECK(milter::verdicts::siphash_2_4_128("", reference).text() ==
          "\xa3\x81\x7f\x04\xba\x25\xa8\xe6\x6d\xf6\x72\x14\xc7\x55\x02\x93");
    CHECK(milter::verdicts::siphash_2_4_128(std::string(1, '\0'), reference).text() ==
          "\xda\x87\xc1\xd8\x6b\x99\xaf\x44\x34\x76\x59\x11\x9b\x22\xfc\x45");
    const digest d{1, 0x8000000000000002U};
    CHECK(digest::of_bytes(d.bytes()) == d);
}

TEST_CASE("Tags name the address and its domain, whatever the question") {
    const auto key = key_of(question_of("U@a1.test"));
    const auto recipient = smtpclient::mailbox::parse("U@A1.Test").value();
    CHECK(key.tags() == milter::verdicts::tags_of(recipient, seed));
    CHECK(key.tags().domain == milter::verdicts::tag_of_domain("a1.test", seed));
    CHECK(key.declared() == milter::verdicts::key_of_declared(recipient, seed));
    CHECK(key.tags().domain == key_of(question_of("v@a1.test")).tags().domain);
    CHECK(key.tags().address != key_of(question_of("v@a1.test")).tags().address);
    CHECK(key_of(question_of("u@[192.0.2.1]")).tags().address !=
          key_of(question_of("u@[192.0.2.2]")).tags().address);
}

TEST_CASE("No two of a quarter of a million addresses have one tag") {
    // With 32 bits about seven pairs had: what was declared of one was forgotten with the other.
    constexpr std::size_t count = 250000;
    milter::verdicts::tag_set tags;
    for (std::size_t n = 0; n < count; ++n) {
        const auto recipient = smtpclient::mailbox::parse("user" + std::to_string(n) + "@a1.test");
        tags.insert(milter::verdicts::tags_of(recipient.value(), seed).address);
    }
    CHECK(tags.size() == count);
}

TEST_CASE("Two processes do not share a seed, one process does not change it") {
    CHECK(&hash_seed::of_process() == &hash_seed::of_process());
    CHECK(hash_seed::of_process().first != hash_seed::of_process().second);
}

TEST_CASE("Spellings of one recipient and one sender have one key") {
    const auto key = key_of(question_of("U@a1.test"));
    CHECK(key == key_of(question_of("<U@A1.TEST.>")));
    CHECK(key == key_of(question_of("U@a1.test", "s@A.Test")));
    CHECK(key_of(question_of("u@m\xc3\xbcnchen.test")) ==
          key_of(question_of("u@xn--mnchen-3ya.test")));
    CHECK(key.recipient_only() == key_of(question_of("<U@A1.TEST.>")).recipient_only());
    CHECK(key.tags() == key_of(question_of("<U@A1.TEST.>")).tags());
    // Composed and decomposed (RFC 6532 section 3.1).
    const auto composed = key_of(question_of("m\xc3\xbcller@a1.test"));
    CHECK(composed == key_of(question_of("mu\xcc\x88ller@a1.test")));
    CHECK(composed.tags() == key_of(question_of("mu\xcc\x88ller@a1.test")).tags());
    CHECK_FALSE(composed == key_of(question_of("M\xc3\x9cller@a1.test")));
}

TEST_CASE("Another local part, route or policy is another question, whoever sends") {
    const auto key = key_of(question_of("u@a1.test"));
    auto elsewhere = question_of("u@a1.test");
    std::string error;
    elsewhere.to = {false, {smtpclient::parse_next_hop("h.example", error).value()}};
    for (const auto& other : {key_of(question_of("U@a1.test")),
                              key_of(question_of("u@a2.test")),
                              key_of(question_of("u+x@a1.test")),
                              key_of(elsewhere),
                              key_of(question_of("u@a1.test"), "g")}) {
        CHECK_FALSE(key.recipient_only() == other.recipient_only());
    }
}

TEST_CASE("Another sender or other parameters change only the key with the sender") {
    const auto base = question_of("u@a1.test");
    std::vector<smtpclient::question> others(7, base);
    others[0].sender = "";
    others[1].sender = "S@a.test";
    others[2].original_sender = false;
    others[3].parameters.size = 0;
    others[4].parameters.size = 1234;
    others[5].parameters.body = "8BITMIME";
    others[6].parameters.smtputf8 = true;
    const auto key = key_of(base);
    for (const auto& q : others) {
        const auto other = key_of(q);
        CHECK(key.recipient_only() == other.recipient_only());
        CHECK_FALSE(key.with_sender() == other.with_sender());
    }
}

TEST_CASE("The client is part of the key with the sender where a next hop is told of it") {
    auto q = question_of("u@a1.test");
    smtpclient::transport by;
    by.xclient = true;
    q.by = std::make_shared<const smtpclient::transport>(by);
    const auto nobodys = key_of(q);
    q.client.emplace();
    q.client->helo = "one.test";
    const auto ones = key_of(q);
    CHECK(ones.recipient_only() == nobodys.recipient_only());
    CHECK_FALSE(ones == nobodys);
    q.client->port = 4711;
    CHECK(key_of(q) == ones);
    q.client->helo = "other.test";
    CHECK_FALSE(key_of(q) == ones);
    q.client->helo = "one.test";
    q.client->address = dns::ip_address::parse("192.0.2.1").value();
    CHECK_FALSE(key_of(q) == ones);
    q.by = std::make_shared<const smtpclient::transport>();
    CHECK(key_of(q) == nobodys);
}

TEST_CASE("No part of a key can run over into the next one") {
    CHECK_FALSE(key_of(question_of("u@a1.test"), "1:x").recipient_only() ==
                key_of(question_of("u@a1.test"), "x").recipient_only());
    CHECK_FALSE(key_of(question_of("u@a1.test", "s"), "f").with_sender() ==
                key_of(question_of("u@a1.test", "s1:o"), "f").with_sender());
}
