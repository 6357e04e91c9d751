#include "milter/verdicts/memory.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace callforward;
using namespace std::chrono_literals;
using milter::cache_settings;
using milter::verdicts::entry_counts;
using milter::verdicts::known;
using milter::verdicts::memory;
using milter::verdicts::question_key;
using milter::verdicts::steady_clock;
using smtpclient::reason;
using smtpclient::verdict_class;

namespace {

const steady_clock::time_point start{1000h};

question_key key_of(const std::string& rcpt, const std::string& sender = "s@a.test") {
    smtpclient::question q;
    q.recipient = smtpclient::mailbox::parse(rcpt).value();
    q.sender = sender;
    q.to.recipient_mx = true;
    return {q, "f", {1, 2}};
}

question_key user(int n) {
    return key_of("u" + std::to_string(n) + "@a1.test");
}

smtpclient::verdict verdict_of(verdict_class c,
                               reason r,
                               const std::string& reply = "",
                               int code = 550) {
    smtpclient::verdict v;
    v.finding = {c, r};
    v.stage = smtpclient::stage::rcpt;
    if (!reply.empty()) v.reply = smtpclient::reply{code, {reply}};
    return v;
}

const auto accepted = verdict_of(verdict_class::deliverable, reason::accepted, "ok", 250);
const auto unknown = verdict_of(verdict_class::undeliverable, reason::unknown_user, "5.1.1 no");
const auto bare = verdict_of(verdict_class::undeliverable, reason::unknown_user, "no");
const auto failed = verdict_of(verdict_class::unreachable, reason::timed_out);

cache_settings small(std::size_t capacity, std::size_t undeliverable) {
    cache_settings s;
    s.capacity = capacity;
    s.undeliverable_capacity = undeliverable;
    return s;
}

std::optional<reason> reason_at(memory& m, const question_key& k, steady_clock::time_point at) {
    const auto found = m.find(k, at);
    return found && !found->stale ? std::optional(found->kept->finding.reason) : std::nullopt;
}

}  // namespace

TEST_CASE("Nothing is known at first, and what is stored is found") {
    memory m{cache_settings{}};
    CHECK_FALSE(m.find(user(1), start));
    m.store(user(1), accepted, start);
    const auto found = m.find(user(1), start + 1s);
    REQUIRE(found);
    CHECK(found->verdict()->finding == accepted.finding);
    CHECK_FALSE(found->stale);
    CHECK_FALSE(found->refresh);
    CHECK(found->learnt == start);
    CHECK_FALSE(m.find(user(2), start));
    m.clear();
    CHECK_FALSE(m.find(user(1), start));
    CHECK(m.size() == entry_counts{});
}

TEST_CASE("An answer about the recipient alone is found for every sender, others are not") {
    memory m{cache_settings{}};
    m.store(key_of("good@a1.test"), accepted, start);
    m.store(key_of("bad@a1.test"), unknown, start);
    m.store(key_of("bare@a1.test"), bare, start);
    m.store(key_of("far@a1.test"), failed, start);
    m.store(key_of("none@a1.test"),
            verdict_of(verdict_class::undeliverable, reason::no_such_domain),
            start);
    CHECK(m.find(key_of("good@a1.test", "other@b.test"), start));
    CHECK(m.find(key_of("bad@A1.test", ""), start));
    CHECK(m.find(key_of("none@a1.test", ""), start));
    CHECK(m.find(key_of("bare@a1.test"), start));
    CHECK_FALSE(m.find(key_of("bare@a1.test", "other@b.test"), start));
    CHECK(m.find(key_of("far@a1.test"), start));
    CHECK_FALSE(m.find(key_of("far@a1.test", ""), start));
}

TEST_CASE("Each class has its own lifetime") {
    using milter::verdicts::lifetime;
    const cache_settings s;
    const auto life = [&](verdict_class c, reason r) { return lifetime(verdict_of(c, r), s); };
    CHECK(lifetime(accepted, s) == 24h);
    CHECK(life(verdict_class::deliverable, reason::catch_all) == 24h);
    auto found_before = verdict_of(verdict_class::deliverable, reason::catch_all);
    found_before.found_before = 2h;
    CHECK(lifetime(found_before, s) == 2h);
    found_before.found_before = 48h;
    CHECK(lifetime(found_before, s) == 24h);
    CHECK(lifetime(unknown, s) == 10min);
    CHECK(life(verdict_class::undeliverable, reason::null_mx) == 10min);
    CHECK(life(verdict_class::undeliverable, reason::mailbox_full) == 30s);
    CHECK(life(verdict_class::deferred, reason::greylisted) == 30s);
    CHECK(life(verdict_class::refused, reason::policy) == 30s);
    CHECK(life(verdict_class::refused, reason::sender_refused) == 30s);
    CHECK(life(verdict_class::unreachable, reason::connect_failed) == 30s);
    CHECK(life(verdict_class::unreachable, reason::loop) == 30s);
    CHECK(life(verdict_class::insecure, reason::certificate) == 30s);
    CHECK(life(verdict_class::unreachable, reason::overloaded) == 0s);
    CHECK(life(verdict_class::sender_refused, reason::sender_refused) == 0s);
    CHECK(life(verdict_class::skipped, reason::local) == 0s);
}

TEST_CASE("A life is at most as long as configured, and at most a tenth shorter") {
    memory m{cache_settings{}, 7};
    std::set<steady_clock::time_point> ends;
    for (int i = 0; i < 200; ++i) {
        m.store(user(i), unknown, start);
        ends.insert(m.find(user(i), start)->expires);
        CHECK(reason_at(m, user(i), start + 9min - 1ms) == reason::unknown_user);
    }
    CHECK(ends.size() > 50);
    CHECK(*ends.begin() >= start + 9min);
    CHECK(*ends.rbegin() <= start + 10min);
    for (int i = 0; i < 200; ++i) CHECK_FALSE(m.find(user(i), start + 10min));
    for (int i = 0; i < 200; ++i) CHECK_FALSE(m.find(user(i), start + 3h));
    CHECK(m.size() == entry_counts{});
}

TEST_CASE("A use does not prolong a life") {
    memory m{cache_settings{}};
    m.store(user(1), accepted, start);
    for (int hour = 0; hour < 21; ++hour) CHECK(reason_at(m, user(1), start + hour * 1h));
    CHECK_FALSE(reason_at(m, user(1), start + 24h));
}

TEST_CASE("A lifetime of 0 keeps nothing, and what is never kept is not kept") {
    cache_settings s;
    s.deliverable = s.undeliverable = s.undetermined = s.catch_all = 0s;
    memory none{s};
    for (const auto& v : {accepted, unknown, bare, failed}) {
        none.store(user(1), v, start);
        CHECK_FALSE(none.find(user(1), start));
    }
    memory m{cache_settings{}};
    m.store(user(1), verdict_of(verdict_class::unreachable, reason::overloaded), start);
    m.store(user(2),
            verdict_of(verdict_class::sender_refused, reason::sender_refused, "5.1.8 no"),
            start);
    m.store(user(3), verdict_of(verdict_class::skipped, reason::local), start);
    CHECK(m.size() == entry_counts{});
}

TEST_CASE("A failed probe replaces no answer that is still fresh") {
    memory m{cache_settings{}};
    m.store(user(1), accepted, start);
    m.store(user(1), failed, start + 1s);
    CHECK(reason_at(m, user(1), start + 2s) == reason::accepted);
    m.store(user(2), unknown, start);
    m.store(user(2), failed, start + 1s);
    CHECK(reason_at(m, user(2), start + 2s) == reason::unknown_user);
    m.store(user(3), bare, start);
    m.store(user(3), failed, start + 1s);
    CHECK(reason_at(m, user(3), start + 2s) == reason::unknown_user);
    m.store(user(3), failed, start + 11min);
    CHECK(reason_at(m, user(3), start + 11min) == reason::timed_out);
}

TEST_CASE("A later answer replaces an earlier one, whichever it was") {
    memory m{cache_settings{}};
    m.store(user(1), failed, start);
    m.store(user(1), unknown, start);
    CHECK(reason_at(m, user(1), start) == reason::unknown_user);
    m.store(user(1), accepted, start);
    CHECK(reason_at(m, user(1), start) == reason::accepted);
    CHECK(m.size().deliverable == 1);
    m.store(user(1), unknown, start);
    CHECK(reason_at(m, user(1), start) == reason::unknown_user);
    CHECK(m.size().deliverable == 0);
}

TEST_CASE("A later refusal of one sender's mail is not hidden by an older deliverable") {
    memory m{cache_settings{}};
    m.store(user(1), accepted, start);
    m.store(user(1), bare, start + 1s);
    CHECK(reason_at(m, user(1), start + 2s) == reason::unknown_user);
    CHECK_FALSE(m.find(key_of("u1@a1.test", "other@b.test"), start + 2s));
}

TEST_CASE("Full, a segment forgets what was used least recently, and no other segment's entry") {
    memory m{small(3, 2)};
    for (int i = 0; i < 3; ++i) m.store(user(i), accepted, start);
    CHECK(m.find(user(0), start));
    m.store(user(3), accepted, start);
    CHECK(m.find(user(0), start));
    CHECK_FALSE(m.find(user(1), start));
    for (int i = 100; i < 1000; ++i) m.store(user(i), i % 2 == 0 ? unknown : failed, start);
    CHECK(m.size() == entry_counts{3, 1, 1});
    CHECK(m.find(user(0), start));
    CHECK(m.find(user(999), start));
    CHECK_FALSE(m.find(user(997), start));
}

TEST_CASE("Capacities hold over all shards, and 0 keeps nothing") {
    memory m{small(5000, 3001)};
    for (int i = 0; i < 12000; ++i) m.store(user(i), i % 2 == 0 ? accepted : unknown, start);
    const auto counts = m.size();
    CHECK(counts.deliverable <= 5000);
    CHECK(counts.deliverable > 4500);
    CHECK(counts.undeliverable <= 3001);
    CHECK(counts.undeliverable > 2700);
    memory none{small(0, 0)};
    none.store(user(1), accepted, start);
    none.store(user(2), unknown, start);
    CHECK(none.size() == entry_counts{});
}

TEST_CASE("Counts follow every change") {
    memory m{cache_settings{}};
    m.store(user(1), accepted, start);
    m.store(user(2), unknown, start);
    m.store(user(3), failed, start);
    CHECK(m.size() == entry_counts{1, 1, 1});
    m.store(user(3), unknown, start);  // another key: it is about the recipient alone
    CHECK(m.size() == entry_counts{1, 2, 1});
    CHECK_FALSE(m.find(user(2), start + 3h));
    CHECK(m.size() == entry_counts{1, 1, 1});
    m.clear();
    CHECK(m.size() == entry_counts{});
    m.store(user(2), unknown, start);
    CHECK(m.size() == entry_counts{0, 1, 0});
}

TEST_CASE("A refusal lives twice as long at each repeat, up to its limit") {
    cache_settings s;
    memory m{s};
    auto now = start;
    auto expected = 600s;
    for (int i = 0; i < 8; ++i) {
        m.store(user(1), unknown, now);
        CHECK(reason_at(m, user(1), now + expected * 9 / 10 - 1s) == reason::unknown_user);
        CHECK_FALSE(m.find(user(1), now + expected));
        now += expected;
        expected = std::min<std::chrono::seconds>(expected * 2, 7200s);
    }
    // Learnt twice at one time, it is one refusal; long ago, it is forgotten; accepted, too.
    m.store(user(2), unknown, start);
    m.store(user(2), unknown, start + 1s);
    CHECK_FALSE(m.find(user(2), start + 601s));
    m.store(user(2), unknown, start + 3h);
    CHECK_FALSE(m.find(user(2), start + 3h + 600s));
    m.store(user(2), accepted, start + 3h + 601s);
    m.store(user(2), unknown, start + 3h + 602s);
    CHECK_FALSE(m.find(user(2), start + 3h + 1202s));
}

TEST_CASE("A failed probe between two refusals of one sender does not reset their number") {
    memory m{cache_settings{}};
    m.store(user(1), bare, start);
    m.store(user(1), failed, start + 601s);
    CHECK_FALSE(m.find(user(1), start + 635s));
    m.store(user(1), bare, start + 640s);
    CHECK(reason_at(m, user(1), start + 640s + 1000s) == reason::unknown_user);
}

TEST_CASE("Without a longer life configured, a refusal's stays the same") {
    cache_settings s;
    s.undeliverable_max = 0s;
    memory m{s};
    m.store(user(1), unknown, start);
    m.store(user(1), unknown, start + 600s);
    CHECK(reason_at(m, user(1), start + 600s + 539s) == reason::unknown_user);
    CHECK_FALSE(m.find(user(1), start + 1200s));
}

TEST_CASE("From three quarters of its life on, one caller a minute is to refresh a deliverable") {
    memory m{cache_settings{}};
    m.store(user(1), accepted, start);
    m.store(user(2), unknown, start);
    CHECK_FALSE(m.find(user(1), start + 16h)->refresh);
    CHECK(m.find(user(1), start + 18h)->refresh);
    CHECK_FALSE(m.find(user(1), start + 18h)->refresh);
    CHECK_FALSE(m.find(user(1), start + 18h + 59s)->refresh);
    CHECK(m.find(user(1), start + 18h + 60s)->refresh);
    m.store(user(1), failed, start + 18h + 61s);  // changes nothing
    CHECK(reason_at(m, user(1), start + 19h) == reason::accepted);
    m.store(user(1), accepted, start + 19h);
    CHECK_FALSE(m.find(user(1), start + 20h)->refresh);
    CHECK_FALSE(m.find(user(2), start + 8min + 59s)->refresh);
}

TEST_CASE("An expired deliverable is given as stale, and as an answer once the next hop failed") {
    memory m{cache_settings{}};
    m.store(user(1), accepted, start);
    CHECK_FALSE(m.find(user(1), start + 21h)->stale);
    auto found = m.find(user(1), start + 24h);
    REQUIRE(found);
    CHECK(found->stale);
    CHECK_FALSE(found->unreachable);
    m.store(user(1), failed, start + 24h);
    found = m.find(user(1), start + 24h + 1s);
    REQUIRE(found);
    CHECK(found->unreachable);
    CHECK(found->kept->finding.reason == reason::accepted);
    CHECK_FALSE(m.find(user(1), start + 25h)->unreachable);
    // 4xx to RCPT is an answer.
    m.store(
        user(1), verdict_of(verdict_class::deferred, reason::deferred, "later", 450), start + 26h);
    CHECK(reason_at(m, user(1), start + 26h) == reason::deferred);
    CHECK(m.find(user(1), start + 24h + 6 * 24h)->stale);
    CHECK_FALSE(m.find(user(1), start + 8 * 24h));
    CHECK(m.size().deliverable == 0);
    // An expired refusal is no answer, whatever happens.
    m.store(user(2), unknown, start);
    m.store(user(2), failed, start + 11min);
    CHECK(reason_at(m, user(2), start + 11min) == reason::timed_out);
}

TEST_CASE("A configured stale of 0 forgets at the end of a life") {
    cache_settings s;
    s.stale = 0s;
    memory m{s};
    m.store(user(1), accepted, start);
    CHECK_FALSE(m.find(user(1), start + 24h));
    CHECK(m.size().deliverable == 0);
}

TEST_CASE("Text is kept of what a client sees, whole, and nothing of it of a deliverable") {
    memory m{cache_settings{}};
    auto said = verdict_of(verdict_class::deliverable, reason::accepted, "2.1.5 <u@a> Ok 1x", 250);
    said.next_hop_names = {"mx.a1.test"};
    said.host = "mx.a1.test";
    m.store(user(1), said, start);
    const auto kept = m.find(user(1), start)->verdict();
    CHECK(kept->reply->code == 250);
    CHECK(kept->reply->enhanced() == smtpclient::enhanced_code{2, 1, 5});
    CHECK(kept->reply->text().empty());
    CHECK(kept->host == "mx.a1.test");
    CHECK(kept->next_hop_names.empty());
    said.reply->lines = {"2.1.5 <v@a> Ok 2y"};
    m.store(user(2), said, start);
    CHECK(m.find(user(2), start)->verdict() == kept);  // one object for both

    auto refused = unknown;
    refused.reply->lines = {"5.1.1 <u@a>:", "5.1.1 no such user"};
    refused.next_hop_names = {"mx.a1.test"};
    m.store(user(3), refused, start);
    CHECK(m.find(user(3), start)->verdict()->reply == refused.reply);
    CHECK(m.find(user(3), start)->verdict()->next_hop_names == refused.next_hop_names);
    refused.reply->lines.assign(100, std::string(1000, 'x'));
    m.store(user(4), refused, start);
    CHECK(m.find(user(4), start)->verdict()->reply->text().size() <= 2100);
}

TEST_CASE("A flood of addresses that a host accepts pushes out none that are asked for") {
    memory m{small(1000, 10)};
    for (int i = 0; i < 800; ++i) m.store(user(i), accepted, start);
    for (int i = 0; i < 800; ++i) CHECK(reason_at(m, user(i), start) == reason::accepted);
    for (int i = 10000; i < 30000; ++i) m.store(user(i), accepted, start);
    int left = 0;
    for (int i = 0; i < 800; ++i) left += m.find(user(i), start) ? 1 : 0;
    CHECK(left == 800);
    CHECK(m.size().deliverable == 1000);
}

TEST_CASE("An address or a domain can be forgotten, and an address be declared to exist") {
    memory m{cache_settings{}};
    const auto other = key_of("u@b1.test");
    m.store(user(1), accepted, start);
    m.store(user(2), bare, start);
    m.store(other, accepted, start);
    CHECK(m.show(user(2).tags().address).size() == 1);
    CHECK(m.forget_addresses({user(2).tags().address}) == 1);
    CHECK_FALSE(m.find(user(2), start));
    CHECK(m.forget_domains({user(1).tags().domain}) == 1);
    CHECK_FALSE(m.find(user(1), start));
    CHECK(m.find(other, start));

    m.store(user(3), unknown, start);
    const auto declare = [&](const question_key& key) {
        m.forget_addresses({key.tags().address});
        m.enter_declared(key.declared(), key.tags(), start);
    };
    declare(user(3));
    CHECK(reason_at(m, user(3), start + 1h) == reason::accepted);
    m.store(user(3), failed, start + 1h);
    CHECK(reason_at(m, user(3), start + 1h) == reason::accepted);
    CHECK_FALSE(m.find(user(3), start + 20h)->refresh);
    m.store(user(3), unknown, start + 2h);
    CHECK(reason_at(m, user(3), start + 2h) == reason::unknown_user);
    declare(user(4));
    CHECK_FALSE(m.find(user(4), start + 24h));
}

TEST_CASE("Entries come and go in any order without one getting lost") {
    memory m{small(300, 200)};
    std::uint64_t random = 1;
    std::map<int, reason> last;
    for (int i = 0; i < 40000; ++i) {
        random = random * 6364136223846793005U + 1442695040888963407U;
        const int who = static_cast<int>(random >> 33U) % 120;
        const int what = static_cast<int>(random >> 60U) % 3;
        if (what == 2) {
            m.forget_addresses({user(who).tags().address});
            last.erase(who);
        } else {
            m.store(user(who), what == 0 ? accepted : unknown, start);
            last[who] = what == 0 ? reason::accepted : reason::unknown_user;
        }
        if (i % 1000 != 0) continue;
        for (int n = 0; n < 120; ++n) {
            const auto expected = last.find(n);
            const auto found = reason_at(m, user(n), start);
            CHECK(found.has_value() == (expected != last.end()));
            if (found && expected != last.end()) CHECK(*found == expected->second);
        }
    }
}

TEST_CASE("Many threads may find, store, count and clear at once") {
    memory m{small(2048, 2048)};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&m, t] {
            for (int i = 0; i < 3000; ++i) {
                const auto key = user((i * 7 + t) % 500);
                const auto now = start + std::chrono::seconds(i);
                if (const auto found = m.find(key, now)) {
                    static_cast<void>(found->verdict()->outcome());
                }
                m.store(key, i % 3 == 0 ? accepted : i % 3 == 1 ? unknown : failed, now);
                if (i % 500 == 0) static_cast<void>(m.size());
                if (t == 0 && i % 1000 == 999) m.clear();
            }
        });
    }
    for (auto& thread : threads) thread.join();
    const auto counts = m.size();
    CHECK(counts.deliverable <= 2048);
    CHECK(counts.undeliverable + counts.undetermined <= 2048);
}
