#include "milter/verdicts/cache.h"

#include <doctest/doctest.h>

#include <functional>
#include <future>
#include <map>
#include <string>
#include <utility>
#include <vector>

using namespace callforward;
using namespace std::chrono_literals;
using milter::cache_settings;
using milter::verdicts::cache;
using milter::verdicts::digest;
using milter::verdicts::hash_seed;
using milter::verdicts::moment;
using milter::verdicts::record;
using milter::verdicts::steady_clock;
using milter::verdicts::trust;
using milter::verdicts::wall_time;
using smtpclient::reason;
using smtpclient::verdict_class;

namespace {

// Keeps records in a map that outlives the caches on it: a restart is a new cache.
using kept_records = std::map<std::string, record>;

const hash_seed usual{1, 2};

class fake_store final : public milter::verdicts::store {
public:
    explicit fake_store(kept_records& records, const hash_seed& seed = usual)
        : records_(records), seed_(seed) {}
    [[nodiscard]] hash_seed seed() const override { return seed_; }
    [[nodiscard]] std::optional<record> find(const digest& key) override {
        const auto row = records_.find(key.text());
        const auto found = row == records_.end() ? std::nullopt : std::optional(row->second);
        if (found && after_find) std::exchange(after_find, nullptr)();
        return found;
    }
    void put(const digest& key, const record& r) override {
        records_.insert_or_assign(key.text(), r);
        if (after_put) std::exchange(after_put, nullptr)();
    }
    void erase(const digest& key) override { records_.erase(key.text()); }
    void forget_addresses(milter::verdicts::tag_set tags) override {
        std::erase_if(records_,
                      [&](const auto& row) { return tags.contains(row.second.tags.address); });
    }
    void forget_domain(std::uint32_t tag) override {
        std::erase_if(records_, [tag](const auto& row) { return row.second.tags.domain == tag; });
    }
    void forget_refusals(milter::verdicts::tag_set domain_tags, wall_time since) override {
        std::erase_if(records_, [&](const auto& row) {
            const record& r = row.second;
            return r.verdict.outcome() == smtpclient::outcome::undeliverable &&
                   domain_tags.contains(r.tags.domain) && r.learnt >= since;
        });
    }
    bool flush(std::chrono::milliseconds) override { return true; }

    // What another thread does just then; once.
    std::function<void()> after_find;
    std::function<void()> after_put;

private:
    kept_records& records_;
    const hash_seed& seed_;
};

const moment start{steady_clock::time_point{1000h}, wall_time{1700000000000ms}};

moment after(std::chrono::milliseconds time) {
    return {start.steady + time, start.wall + time};
}

// After a restart the monotonic clock begins anew.
moment restarted_after(std::chrono::milliseconds time) {
    return {steady_clock::time_point{1min}, start.wall + time};
}

smtpclient::question question_of(const std::string& rcpt, const std::string& sender = "s@a.test") {
    smtpclient::question q;
    q.recipient = smtpclient::mailbox::parse(rcpt).value();
    q.sender = sender;
    q.to.recipient_mx = true;
    return q;
}

smtpclient::verdict verdict_of(verdict_class c, reason r, const std::string& reply, int code) {
    smtpclient::verdict v;
    v.finding = {c, r};
    v.stage = smtpclient::stage::rcpt;
    if (!reply.empty()) v.reply = smtpclient::reply{code, {reply}};
    return v;
}

const auto accepted = verdict_of(verdict_class::deliverable, reason::accepted, "2.1.5 ok", 250);
const auto unknown =
    verdict_of(verdict_class::undeliverable, reason::unknown_user, "5.1.1 no", 550);
const auto bare = verdict_of(verdict_class::undeliverable, reason::unknown_user, "no", 550);
const auto full = verdict_of(verdict_class::undeliverable, reason::mailbox_full, "5.2.2 full", 552);
const auto failed = verdict_of(verdict_class::unreachable, reason::timed_out, "", 0);

struct one_run {  // of the program
    explicit one_run(kept_records& records,
                     const cache_settings& settings = {},
                     const hash_seed& seed = usual)
        : all(settings, std::make_unique<fake_store>(records, seed)) {}

    void store(const std::string& rcpt, const smtpclient::verdict& v, const moment& now) {
        const auto q = question_of(rcpt);
        all.store(all.key_of(q, "f"), q.recipient, v, now);
    }
    auto find(const std::string& rcpt, const moment& now, const std::string& sender = "s@a.test") {
        const auto q = question_of(rcpt, sender);
        return all.find(all.key_of(q, "f"), q.recipient, now);
    }
    std::string reason_of(const std::string& rcpt, const moment& now) {
        const auto k = find(rcpt, now);
        return k ? std::string(k->stale ? "stale " : "") +
                       std::string(to_string(k->kept->finding.reason))
                 : "nothing";
    }
    cache all;
};

}  // namespace

TEST_CASE("What is known survives a restart with the rest of its life") {
    kept_records records;
    one_run first(records);
    first.store("good@a1.test", accepted, start);
    first.store("bad@a1.test", unknown, start);
    first.store("bare@a1.test", bare, start);
    CHECK(records.size() == 3);
    one_run second(records);
    CHECK(second.reason_of("good@a1.test", restarted_after(1h)) == "accepted");
    CHECK(second.find("good@a1.test", restarted_after(1h), "other@b.test"));
    CHECK(second.reason_of("bad@a1.test", restarted_after(8min)) == "unknown_user");
    CHECK(second.find("bad@a1.test", restarted_after(8min))->verdict()->reply == unknown.reply);
    CHECK(second.reason_of("bare@a1.test", restarted_after(8min)) == "unknown_user");
    CHECK_FALSE(second.find("bare@a1.test", restarted_after(8min), "other@b.test"));
    CHECK(second.all.size().deliverable == 1);
    one_run third(records);
    CHECK(third.reason_of("good@a1.test", restarted_after(24h)) == "stale accepted");
    CHECK(third.reason_of("bad@a1.test", restarted_after(24h)) == "nothing");
    one_run fourth(records);
    CHECK(fourth.reason_of("good@a1.test", restarted_after(24h * 9)) == "nothing");
}

TEST_CASE("What a store has is found also when it opens so late that another seed was drawn") {
    kept_records records;
    one_run(records).store("good@a1.test", accepted, start);
    hash_seed seed{7, 8};
    one_run second(records, {}, seed);
    CHECK(second.reason_of("good@a1.test", restarted_after(1h)) == "nothing");
    seed = usual;
    CHECK(second.reason_of("good@a1.test", restarted_after(1h)) == "accepted");
    second.store("new@a1.test", accepted, restarted_after(1h));
    CHECK(one_run(records).reason_of("new@a1.test", restarted_after(2h)) == "accepted");
}

TEST_CASE("Near its end, a restored deliverable is to be refreshed as well") {
    kept_records records;
    one_run(records).store("good@a1.test", accepted, start);
    one_run second(records);
    CHECK(second.find("good@a1.test", restarted_after(20h))->refresh);
    CHECK_FALSE(second.find("good@a1.test", restarted_after(20h))->refresh);
}

TEST_CASE("Refusals are counted over a restart") {
    kept_records records;
    one_run(records).store("bad@a1.test", unknown, start);
    one_run second(records);
    CHECK(second.reason_of("bad@a1.test", restarted_after(11min)) == "nothing");
    second.store("bad@a1.test", unknown, restarted_after(11min));
    CHECK(records.begin()->second.repeats == 1);
    CHECK(records.begin()->second.expires - records.begin()->second.learnt > 17min);
}

TEST_CASE("What is not about the recipient, or for a moment only, is not written") {
    kept_records records;
    one_run run(records);
    run.store("u@a1.test", failed, start);
    run.store("u@a1.test",
              verdict_of(verdict_class::deferred, reason::greylisted, "4.7.1 later", 451),
              start);
    run.store("v@a1.test", full, start);
    CHECK(records.empty());
}

TEST_CASE("A refusal takes the older deliverable out of the store, too") {
    kept_records records;
    one_run run(records);
    run.store("u@a1.test", accepted, start);
    run.store("u@a1.test", bare, after(1s));
    CHECK(records.size() == 1);
    one_run second(records);
    CHECK(second.reason_of("u@a1.test", restarted_after(2s)) == "unknown_user");
}

TEST_CASE("A refusal that is not written takes the older deliverable out of the store, too") {
    kept_records records;
    one_run run(records);
    run.store("u@a1.test", accepted, start);
    run.store("u@a1.test", full, after(1s));
    CHECK_FALSE(run.find("u@a1.test", after(2s), "other@b.test"));
    CHECK(run.reason_of("u@a1.test", after(2s)) == "mailbox_full");
    CHECK(run.reason_of("u@a1.test", after(40s)) == "nothing");
    cache_settings no_refusals;
    no_refusals.undeliverable = 0s;
    one_run second(records, no_refusals);
    second.store("v@a1.test", accepted, start);
    second.store("v@a1.test", unknown, after(1s));
    CHECK(second.reason_of("v@a1.test", after(2s)) == "nothing");
}

TEST_CASE("A clock that was set makes nothing immortal, and nothing older than its life") {
    kept_records records;
    one_run(records).store("good@a1.test", accepted, after(24h * 365));  // the clock was wrong
    {
        one_run second(records);
        CHECK(second.reason_of("good@a1.test", restarted_after(0ms)) == "accepted");
        CHECK(records.begin()->second.learnt == start.wall);  // written as learnt now
    }
    one_run third(records);
    CHECK(third.reason_of("good@a1.test", restarted_after(25h)) == "stale accepted");
    one_run fourth(records);
    const moment far{steady_clock::time_point{1min}, wall_time{250000000000000ms}};
    CHECK(fourth.reason_of("good@a1.test", far) == "nothing");
    // A life that the configuration no longer gives.
    records.begin()->second.expires = records.begin()->second.learnt + 24h * 36500;
    one_run fifth(records);
    CHECK(fifth.reason_of("good@a1.test", restarted_after(25h)) == "stale accepted");
}

TEST_CASE("A record of another recipient is not taken") {
    kept_records records;
    one_run run(records);
    run.store("good@a1.test", accepted, start);
    records.begin()->second.recipient = "evil@a1.test";
    one_run second(records);
    CHECK(second.reason_of("good@a1.test", restarted_after(1s)) == "nothing");
}

TEST_CASE("What is forgotten is forgotten on disk, and what is declared survives a restart") {
    kept_records records;
    one_run run(records);
    run.store("u@a1.test", unknown, start);
    run.store("v@a1.test", accepted, start);
    run.store("w@b1.test", accepted, start);
    CHECK(run.all.forget(smtpclient::mailbox::parse("u@A1.test").value()) == 1);
    CHECK(run.reason_of("u@a1.test", start) == "nothing");
    CHECK(run.all.forget_domain("a1.test") == 1);
    CHECK(run.reason_of("v@a1.test", start) == "nothing");
    CHECK(records.size() == 1);
    run.store("n@a1.test", unknown, start);
    run.all.declare(smtpclient::mailbox::parse("n@a1.test").value(), start);
    CHECK(run.reason_of("n@a1.test", start) == "accepted");
    CHECK(run.all.show(smtpclient::mailbox::parse("n@a1.test").value()).size() == 1);
    one_run second(records);
    CHECK(second.reason_of("n@a1.test", restarted_after(1h)) == "accepted");
    CHECK(second.reason_of("u@a1.test", restarted_after(1h)) == "nothing");
}

TEST_CASE("Other edges are told of a change before it is made, so that nothing older comes back") {
    kept_records records;
    one_run run(records);
    const auto u = smtpclient::mailbox::parse("u@a1.test").value();
    std::string before;
    run.all.on_change([&](const std::vector<milter::verdicts::change>& changes) {
        CHECK(changes.size() == 1);
        before = run.reason_of("u@a1.test", start);
    });
    const std::vector<std::function<void()>> ways{[&] { run.all.forget(u); },
                                                  [&] { run.all.forget_domain("a1.test"); },
                                                  [&] { run.all.forget_all(); }};
    for (const auto& forget : ways) {
        run.store("u@a1.test", unknown, start);
        forget();
        CHECK(before == "unknown_user");
        records.clear();
        CHECK(run.reason_of("u@a1.test", start) == "nothing");
    }
    run.all.declare(u, start);
    CHECK(before == "nothing");
    CHECK(run.reason_of("u@a1.test", start) == "accepted");
}

TEST_CASE("What other edges have changed counts in their order, however much comes together") {
    using milter::verdicts::change;
    const change known{change::kind::declare, "u@a1.test"};
    const change unknown_again{change::kind::forget_address, "u@A1.test"};
    const change domain{change::kind::forget_domain, "a1.test"};
    const change other_domain{change::kind::forget_domain, "b1.test"};
    const change all{change::kind::forget_all, {}};
    struct row {
        std::vector<change> changes;
        std::string becomes;
    };
    for (const row& r : {row{{known}, "accepted"},
                         row{{known, unknown_again}, "nothing"},
                         row{{unknown_again, known}, "accepted"},
                         row{{known, domain}, "nothing"},
                         row{{domain, known}, "accepted"},
                         row{{known, other_domain}, "accepted"},
                         row{{known, all}, "nothing"},
                         row{{all, known}, "accepted"},
                         row{{known, domain, unknown_again, known}, "accepted"},
                         row{{{change::kind::declare, "no address"}, known, domain}, "nothing"}}) {
        CAPTURE(r.changes.size());
        kept_records records;
        one_run run(records);
        run.store("u@a1.test", unknown, start);
        run.all.apply(r.changes, start);
        records.clear();  // memory alone: a shared store has its own marks
        CHECK(run.reason_of("u@a1.test", start) == r.becomes);
    }
}

TEST_CASE("What a domain's next hop has refused lately can be forgotten, and nothing else is") {
    kept_records records;
    one_run run(records);
    run.store("earlier@a1.test", unknown, start);
    for (const char* const rcpt : {"lately@a1.test", "lately@b2.test"})
        run.store(rcpt, unknown, after(2min));
    run.store("good@a1.test", accepted, after(2min));
    CHECK(run.all.forget_refusals({"a1.test"}, 1min, after(2min)) == 1);
    CHECK(records.size() == 3);
    CHECK(run.reason_of("lately@a1.test", after(3min)) == "nothing");
    for (const char* const rcpt : {"earlier@a1.test", "lately@b2.test"})
        CHECK(run.reason_of(rcpt, after(3min)) == "unknown_user");
    CHECK(run.reason_of("good@a1.test", after(3min)) == "accepted");
}

TEST_CASE("What a shared store has of a refusal that may have been an outage is not taken") {
    kept_records none;
    one_run run(none);
    const auto take = [&](const std::string& rcpt,
                          const smtpclient::verdict& v,
                          std::chrono::milliseconds age,
                          const moment& now) {
        const auto q = question_of(rcpt);
        const auto key = run.all.key_of(q, "f");
        record r;
        r.recipient = q.recipient.key();
        r.verdict = v;
        r.expires = r.learnt + 10min;
        run.all.take(key.recipient_only(),
                     q.recipient,
                     key.tags(),
                     r,
                     age,
                     false,
                     now,
                     run.all.changes_of(q.recipient));
        return run.reason_of(rcpt, now);
    };
    run.all.forget_refusals({"a1.test"}, 1min, start);
    CHECK(take("lately@a1.test", unknown, 30s, start) == "nothing");
    CHECK(take("lately@b2.test", unknown, 30s, start) == "unknown_user");
    CHECK(take("earlier@a1.test", unknown, 90s, start) == "unknown_user");
    CHECK(take("good@a1.test", accepted, 30s, start) == "accepted");
    CHECK(take("later@a1.test", unknown, 30s, after(1min)) == "unknown_user");
    run.all.forget_refusals({"a1.test"}, 1min, after(5min));
    CHECK(take("between@a1.test", unknown, 5min, after(5min)) == "nothing");
}

TEST_CASE("The store of the configuration is the one that is made") {
    cache_settings s;
    s.store = "memory";
    CHECK(dynamic_cast<milter::verdicts::no_store*>(milter::verdicts::make_store(s).get()));
}

TEST_CASE("A refusal in doubt answers for a while, and is forgotten with anything else") {
    kept_records records;
    one_run run(records);
    run.store("u@a.test", accepted, start);
    const auto q = question_of("u@a.test");
    const auto key = run.all.key_of(q, "f");
    const auto now = start.steady;
    CHECK_FALSE(run.all.doubted(key, now).verdict);
    run.all.doubt(key, unknown, true, 30s, now);
    CHECK(run.all.doubted(key, now + 29s).verdict->finding == unknown.finding);
    CHECK(run.all.doubted(key, now).of_closed_domain);
    CHECK_FALSE(run.all.doubted(key, now + 30s).verdict);
    // It takes nobody's place.
    CHECK(run.find("u@a.test", start)->verdict()->finding == accepted.finding);
    // What may depend on the sender is told to its equals only.
    run.all.doubt(run.all.key_of(question_of("v@a.test"), "f"), bare, false, 30s, now);
    CHECK(run.all.doubted(run.all.key_of(question_of("v@a.test"), "f"), now).verdict);
    CHECK_FALSE(
        run.all.doubted(run.all.key_of(question_of("v@a.test", "t@a.test"), "f"), now).verdict);
    for (const auto& forget : std::vector<std::function<void()>>{
             [&] { run.all.forget(question_of("w@a.test").recipient); },
             [&] { run.all.forget_domain("b.test"); },
             [&] { run.all.forget_all(); },
             [&] { run.all.declare(question_of("w@a.test").recipient, start); },
             [&] {
                 run.all.apply({{milter::verdicts::change::kind::forget_all, {}}}, start);
             },
             [&] { run.all.forget_doubts(); }}) {
        run.all.doubt(key, unknown, false, 30s, now);
        CHECK(run.all.doubted(key, now).verdict);
        forget();
        CHECK_FALSE(run.all.doubted(key, now).verdict);
    }
}

namespace {

struct named_change {
    std::string name;
    std::function<void(cache&)> make;
    bool makes_known = false;
};

std::vector<named_change> changes_of(const std::string& rcpt, const moment& now) {
    const auto whom = smtpclient::mailbox::parse(rcpt).value();
    return {{"forget", [=](cache& all) { all.forget(whom); }},
            {"forget domain", [=](cache& all) { all.forget_domain(whom.domain()->name()); }},
            {"forget all", [](cache& all) { all.forget_all(); }},
            {"declare", [=](cache& all) { all.declare(whom, now); }, true}};
}

// The store of the tests forgets what it is told to, but has no forget_all().
void forget_records(const named_change& c, kept_records& records) {
    if (c.name == "forget all") records.clear();
}

}  // namespace

TEST_CASE("What was read in the store before a change is not known after it") {
    for (const auto age : {1min, -60min}) {  // learnt before, and by a clock that was ahead
        for (const auto& c : changes_of("u@a1.test", start)) {
            CAPTURE(c.name);
            kept_records records;
            one_run(records).store("u@a1.test", unknown, after(-age));
            REQUIRE(records.size() == 1);
            auto store = std::make_unique<fake_store>(records);
            fake_store& below = *store;
            cache all({}, std::move(store));
            below.after_find = [&] {
                c.make(all);
                forget_records(c, records);
            };
            const auto q = question_of("u@a1.test");
            const auto key = all.key_of(q, "f");
            CHECK(all.find(key, q.recipient, start).has_value() == c.makes_known);
            const auto later = all.find(key, q.recipient, start);
            CHECK(later.has_value() == c.makes_known);
            CHECK((!later || later->kept->outcome() == smtpclient::outcome::deliverable));
        }
    }
}

TEST_CASE("The answer to a question from before a change is not kept") {
    for (const auto& c : changes_of("u@a1.test", start)) {
        for (const bool meanwhile : {false, true}) {  // or just while it is stored
            CAPTURE(c.name);
            CAPTURE(meanwhile);
            kept_records records;
            auto store = std::make_unique<fake_store>(records);
            fake_store& below = *store;
            cache all({}, std::move(store));
            const auto q = question_of("u@a1.test");
            const auto key = all.key_of(q, "f");
            const auto asked_at = all.changes_of(q.recipient);
            if (meanwhile) {
                below.after_put = [&] { c.make(all); };
            } else {
                c.make(all);
            }
            CHECK_FALSE(
                all.store(key, q.recipient, unknown, start, {{asked_at, start.steady}}).kept);
            const auto later = all.find(key, q.recipient, start);
            CHECK(later.has_value() == c.makes_known);
            CHECK((!later || later->kept->outcome() == smtpclient::outcome::deliverable));
            CHECK(records.size() == (c.makes_known ? 1 : 0));

            const auto asked_after = all.changes_of(q.recipient);
            CHECK(all.store(key, q.recipient, unknown, start, {{asked_after, start.steady}}).kept);
        }
    }
}

TEST_CASE("The answer to a question from before a finding was forgotten is not kept") {
    using milter::verdicts::change;
    using what = change::kind;
    const auto q = question_of("u@a1.test");
    auto all_changes = changes_of("u@a1.test", start);
    for (const change& c : {change{what::forget_address, "u@a1.test"},
                            change{what::forget_domain, "a1.test"},
                            change{what::forget_all, {}}}) {
        all_changes.push_back({"another edge's", [=](cache& all) { all.apply({c}, start); }});
    }
    for (const auto& c : all_changes) {
        CAPTURE(c.name);
        kept_records records;
        cache all({}, std::make_unique<fake_store>(records));
        std::optional<milter::verdicts::change_count> asked_at;
        all.on_forget([&](std::string_view) { asked_at = all.changes_of(q.recipient); });
        c.make(all);
        REQUIRE(asked_at);
        CHECK_FALSE(
            all.store(all.key_of(q, "f"), q.recipient, unknown, start, {{*asked_at, start.steady}})
                .kept);
    }
}

TEST_CASE("A change of one domain leaves the answers about another one") {
    kept_records records;
    one_run run(records);
    const auto q = question_of("u@a1.test");
    const auto asked_at = run.all.changes_of(q.recipient);
    run.all.forget(smtpclient::mailbox::parse("u@b2.test").value());
    run.all.forget_domain("c3.test");
    CHECK(
        run.all
            .store(run.all.key_of(q, "f"), q.recipient, unknown, start, {{asked_at, start.steady}})
            .kept);
}

TEST_CASE("What a shared store had before a change is not taken after it") {
    for (const auto& c : changes_of("u@a1.test", start)) {
        CAPTURE(c.name);
        kept_records records;
        one_run(records).store("u@a1.test", unknown, start);
        const record old = records.begin()->second;
        records.clear();
        cache all({}, std::make_unique<fake_store>(records));
        const auto q = question_of("u@a1.test");
        const auto key = all.key_of(q, "f");
        const auto looked_at = all.changes_of(q.recipient);
        c.make(all);
        all.take(key.recipient_only(), q.recipient, key.tags(), old, 0ms, false, start, looked_at);
        const auto later = all.recall(key, start);
        CHECK(later.has_value() == c.makes_known);
        CHECK((!later || later->kept->outcome() == smtpclient::outcome::deliverable));
    }
}

TEST_CASE("What is not believed hides neither what was declared since nor what a sender was told") {
    const auto q = question_of("u@a1.test");
    const auto later = after(2min);
    const auto check = [&](const smtpclient::verdict& old, bool declared) {
        kept_records records;
        trust notices(1min, start.steady);
        one_run run(records);
        run.all.believe(&notices);
        notices.regained(start.steady);
        run.store("u@a1.test", old, after(1s));
        notices.lost(after(2s).steady);
        notices.regained(after(3s).steady);
        const bool is_good = old.outcome() == smtpclient::outcome::deliverable;
        CHECK(run.reason_of("u@a1.test", later) == (is_good ? "stale accepted" : "nothing"));

        // As another edge has it in the shared store.
        kept_records others;
        if (declared) {
            one_run(others).all.declare(q.recipient, later);
        } else {
            one_run(others).store("u@a1.test", bare, later);
        }
        const auto key = run.all.key_of(q, "f");
        run.all.take(declared ? key.declared() : key.with_sender(),
                     q.recipient,
                     key.tags(),
                     others.begin()->second,
                     0ms,
                     declared,
                     later,
                     run.all.changes_of(q.recipient));
        CHECK(run.reason_of("u@a1.test", later) == (declared ? "accepted" : "unknown_user"));
    };
    for (const auto& old : {unknown, accepted, bare}) {
        check(old, true);
        check(old, false);
    }
}

TEST_CASE("The answer to a question is believed as of when it was asked") {
    using milter::verdicts::beginning;
    kept_records records;
    trust notices(1min, start.steady);
    one_run run(records);
    run.all.believe(&notices);
    notices.regained(start.steady);
    const auto answered = [&](const std::string& rcpt, const moment& asked) {
        const auto q = question_of(rcpt);
        const beginning began{run.all.changes_of(q.recipient), asked.steady};
        run.all.store(run.all.key_of(q, "f"), q.recipient, unknown, after(4s), began);
    };
    notices.lost(after(2s).steady);
    notices.regained(after(3s).steady);
    answered("before@a1.test", after(1s));
    answered("after@a1.test", after(3s));
    CHECK(run.reason_of("before@a1.test", after(2min)) == "nothing");
    CHECK(run.reason_of("after@a1.test", after(2min)) == "unknown_user");
}

TEST_CASE("What another edge forgets while it is declared here is not known after that") {
    kept_records records;
    auto store = std::make_unique<fake_store>(records);
    fake_store& below = *store;
    cache all({}, std::move(store));
    const auto u = smtpclient::mailbox::parse("u@a1.test").value();
    const auto v = smtpclient::mailbox::parse("v@a1.test").value();
    std::future<void> other_edge;
    below.after_put = [&] {  // of the first, while the second is not known yet
        other_edge = std::async(std::launch::async, [&] {
            all.apply({{milter::verdicts::change::kind::forget_address, "v@a1.test"}}, start);
        });
        // It has to wait; if it did not, this would be time enough.
        other_edge.wait_for(100ms);
    };
    all.declare({u, v}, start);
    other_edge.get();
    CHECK(all.show(u).size() == 1);
    CHECK(all.show(v).empty());
}
