#include "milter/verdicts/cache.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace callforward::milter::verdicts {

using smtpclient::outcome;
using std::chrono::duration_cast;
using std::chrono::milliseconds;

namespace {

constexpr unsigned most_repeats = 60;
constexpr std::chrono::seconds for_opening{30};  // a million records take less from a cold disk
constexpr std::chrono::seconds for_writing{5};   // many at once
constexpr std::size_t many = 1000;
constexpr milliseconds oldest = std::chrono::hours(24 * 40000);  // so that nothing overflows

// What is worth a write: answers about recipients that live longer than a restart takes.
bool belongs_in_store(const smtpclient::verdict& v) {
    return v.outcome() == outcome::deliverable || denies(v);
}

// Of what is read while they are forgotten it is asked after memory has it.
bool is_of(const outages& all,
           const record& r,
           std::uint32_t domain,
           steady_clock::time_point learnt) {
    return r.verdict.outcome() == outcome::undeliverable && all.cover(domain, learnt);
}

// A record of that age as an entry of memory; its life is cut to what the configuration gives.
kept_entry aged(const digest& key,
                const record& r,
                milliseconds age,
                bool declared,
                const cache_settings& settings,
                steady_clock::time_point now) {
    const auto written_life = duration_cast<milliseconds>(r.expires - r.learnt);
    const milliseconds allowed = lifetime(r.verdict, settings, most_repeats);
    kept_entry e;
    e.key = key;
    e.learnt = now - age;
    e.expires = e.learnt + std::min(written_life, allowed);
    e.repeats = r.repeats;
    e.declared = declared;
    return e;
}

}  // namespace

moment moment::now() {
    return {steady_clock::now(),
            std::chrono::time_point_cast<milliseconds>(std::chrono::system_clock::now())};
}

cache::cache(const cache_settings& settings, std::unique_ptr<verdicts::store> below)
    : below_(std::move(below)), memory_(settings, below_->seed().first) {}

question_key cache::key_of(const smtpclient::question& q, std::string_view fingerprint) const {
    return {q, fingerprint, below_->seed()};
}

std::optional<known> cache::find_fresh(const recipient_key& whom, steady_clock::time_point now) {
    return memory_.find_fresh(whom, now);
}

std::optional<known> cache::find(const question_key& key,
                                 const smtpclient::mailbox& recipient,
                                 const moment& now) {
    if (auto found = memory_.find(key, now.steady)) return found;
    // What is stale in memory is no fresher in the store.
    bool restored = restore(key.recipient_only(), recipient, false, now);
    if (restore(key.with_sender(), recipient, false, now)) restored = true;
    if (restore(key.declared(), recipient, true, now)) restored = true;
    return restored ? memory_.find(key, now.steady) : std::nullopt;
}

std::optional<known> cache::recall(const question_key& key, const moment& now) {
    return memory_.find(key, now.steady);
}

bool cache::restore(const digest& key,
                    const smtpclient::mailbox& recipient,
                    bool declared,
                    const moment& now) {
    const auto since = changes_of(recipient);
    const auto r = below_->find(key);
    if (!r || r->recipient != recipient.key()) return false;
    const bool from_future = r->learnt > now.wall;
    const auto age = from_future ? milliseconds{0} : std::min(now.wall - r->learnt, oldest);
    const kept_entry e = aged(key, *r, age, declared, memory_.settings(), now.steady);
    memory_.restore(e, r->tags, r->verdict);
    if (is_of(outages_, *r, r->tags.domain, e.learnt)) {
        memory_.withdraw(e.key, e.learnt);
        return false;
    }
    const bool rewritten = from_future && changes_of(recipient) == since;
    if (rewritten) put(e, r->tags, recipient, r->verdict, now);
    return still_holds(recipient, since, e, rewritten);
}

change_count cache::changes_of(const smtpclient::mailbox& recipient) const {
    return changes_.of(recipient.domain_key());
}

// Whoever changes something counts it before the store forgets, and again before memory does: what
// was read or asked before is entered either early enough to be forgotten, too, or with another
// number behind it than before.
bool cache::still_holds(const smtpclient::mailbox& recipient,
                        change_count since,
                        const kept_entry& entered,
                        bool in_store) {
    if (changes_of(recipient) == since) return true;
    memory_.withdraw(entered.key, entered.learnt);
    if (in_store) below_->erase(entered.key);
    return false;
}

void cache::take(const digest& key,
                 const smtpclient::mailbox& recipient,
                 const recipient_tags& tags,
                 const record& r,
                 milliseconds age,
                 bool declared,
                 const moment& now,
                 change_count looked_at) {
    if (r.recipient != recipient.key()) return;
    age = std::min(age, oldest);
    const kept_entry e = aged(key, r, age, declared, memory_.settings(), now.steady);
    if (is_of(outages_, r, tags.domain, e.learnt)) return;  // it would replace what is good
    memory_.restore(e, tags, r.verdict, now.steady);
    still_holds(recipient, looked_at, e, false);
}

void cache::put(const kept_entry& kept,
                const recipient_tags& tags,
                const smtpclient::mailbox& recipient,
                const smtpclient::verdict& v,
                const moment& now) {
    record r;
    r.recipient = recipient.key();
    r.tags = tags;
    r.verdict = trimmed(v);
    r.learnt = now.wall - duration_cast<milliseconds>(now.steady - kept.learnt);
    r.expires = r.learnt + duration_cast<milliseconds>(kept.expires - kept.learnt);
    r.repeats = kept.repeats;
    below_->put(kept.key, r);
}

stored cache::store(const question_key& key,
                    const smtpclient::mailbox& recipient,
                    const smtpclient::verdict& v,
                    const moment& now,
                    const std::optional<beginning>& began) {
    const auto [since, asked] = began.value_or(beginning{changes_of(recipient), now.steady});
    if (changes_of(recipient) != since) return {};
    const auto kept = memory_.store(key, v, now.steady, asked);
    stored all;
    if (belongs_in_store(v)) all.kept = kept;
    all.outdates = outdates_deliverable(v, key.recipient_only(), all.kept);
    if (all.outdates) below_->erase(key.recipient_only());
    if (all.kept) put(*all.kept, key.tags(), recipient, v, now);
    if (kept && !still_holds(recipient, since, *kept, all.kept.has_value())) return {};
    return all;
}

void cache::doubt(const question_key& key,
                  const smtpclient::verdict& v,
                  bool of_closed_domain,
                  milliseconds life,
                  steady_clock::time_point now) {
    const auto& under =
        smtpclient::about_recipient_alone(v) ? key.recipient_only() : key.with_sender();
    doubts_.add(under, v, of_closed_domain, now + life, now);
    if (!of_closed_domain) memory_.mark_refused(key);
}

verdicts::doubt cache::doubted(const question_key& key, steady_clock::time_point now) const {
    auto found = doubts_.find(key.recipient_only(), now);
    return found.verdict ? found : doubts_.find(key.with_sender(), now);
}

void cache::declare(const smtpclient::mailbox& recipient, const moment& now) {
    declare(std::vector{recipient}, now);
}

void cache::declare(const std::vector<smtpclient::mailbox>& recipients, const moment& now) {
    {
        const auto one_by_one = begin_change();
        if (tell_) {
            std::vector<change> all;
            all.reserve(recipients.size());
            for (const auto& recipient : recipients)
                all.push_back({change::kind::declare, recipient.address()});
            tell_(all);
        }
        declare_here(recipients, now);
    }
    // Who declares more than can wait to be written is held up instead.
    if (recipients.size() >= many) below_->flush(for_writing);
}

// Before what is known of a name is changed: when the seed that names are made with is certain. Who
// waits for that holds up nobody.
std::unique_lock<std::mutex> cache::begin_change() {
    below_->wait_for_opening(for_opening);
    return std::unique_lock(changing_mutex_);
}

void cache::on_forget(std::function<void(std::string_view)> tell) {
    const std::lock_guard lock(forgetting_mutex_);
    forgetting_ = std::move(tell);
}

void cache::tell_of_forgetting(std::string_view domain) {
    const std::lock_guard lock(forgetting_mutex_);
    if (forgetting_) forgetting_(domain);
}

void cache::declare_here(const std::vector<smtpclient::mailbox>& recipients, const moment& now) {
    forget_here(recipients);
    for (const auto& recipient : recipients) {
        const recipient_tags its = tags_of(recipient, below_->seed());
        const kept_entry kept =
            memory_.enter_declared(key_of_declared(recipient, below_->seed()), its, now.steady);
        if (kept.expires > kept.learnt) put(kept, its, recipient, declared_verdict(), now);
    }
}

std::size_t cache::forget(const smtpclient::mailbox& recipient) {
    const auto one_by_one = begin_change();
    if (tell_) tell_({{change::kind::forget_address, recipient.address()}});
    return forget_here({recipient});
}

std::size_t cache::forget_here(const std::vector<smtpclient::mailbox>& recipients) {
    const hash_seed seed = below_->seed();
    tag_set tags;
    for (const auto& recipient : recipients) tags.insert(tags_of(recipient, seed).address);
    const auto count = [&] {
        for (const auto& recipient : recipients) changes_.add(recipient.domain_key());
    };
    count();
    std::set<std::string_view> domains;
    for (const auto& recipient : recipients) domains.insert(recipient.domain_key());
    for (const auto& name : domains) {
        if (!name.empty()) tell_of_forgetting(name);
    }
    below_->forget_addresses(tags);
    count();
    forget_doubts();
    return memory_.forget_addresses(tags);
}

std::size_t cache::forget_domain(std::string_view lower_case) {
    const auto one_by_one = begin_change();
    if (tell_) tell_({{change::kind::forget_domain, std::string(lower_case)}});
    return forget_domains_here({std::string(lower_case)});
}

std::size_t cache::forget_domains_here(const std::set<std::string>& lower_case) {
    const hash_seed seed = below_->seed();
    std::set<std::uint32_t> tags;
    for (const auto& name : lower_case) {
        changes_.add(name);
        tags.insert(tag_of_domain(name, seed));
        tell_of_forgetting(name);
    }
    for (const std::uint32_t tag : tags) below_->forget_domain(tag);
    for (const auto& name : lower_case) changes_.add(name);
    forget_doubts();
    return memory_.forget_domains(tags);
}

std::size_t cache::forget_refusals(const std::set<std::string>& lower_case,
                                   milliseconds lately,
                                   const moment& now) {
    const auto one_by_one = begin_change();
    const cache_settings s = memory_.settings();
    const auto kept = std::max(s.undeliverable, s.undeliverable_max);
    tag_set tags;
    for (const auto& name : lower_case) {
        const std::uint32_t tag = tag_of_domain(name, below_->seed());
        outages_.add(tag, now.steady - lately, now.steady, kept);
        tags.insert(tag);
    }
    below_->forget_refusals(tags, now.wall - lately);
    return memory_.forget_refusals(tags, now.steady - lately);
}

// Each address once, by the last word about it or all of its domain: all of memory is looked
// through for the domains together, and then for the addresses.
void cache::apply(const std::vector<change>& changes, const moment& now) {
    const auto one_by_one = begin_change();
    struct last_word {
        smtpclient::mailbox recipient;
        bool declared;
    };
    // By the domain's tag, so that a domain takes out its own at once.
    std::map<std::uint32_t, std::map<std::string, last_word>> words;
    std::set<std::string> domains;
    for (const change& c : changes) {
        switch (c.what) {
            case change::kind::forget_address:
            case change::kind::declare: {
                const auto recipient = smtpclient::mailbox::parse(c.name);
                if (!recipient) break;
                const last_word word{*recipient, c.what == change::kind::declare};
                words[tags(*recipient).domain].insert_or_assign(recipient->key(), word);
                break;
            }
            case change::kind::forget_domain:
                words.erase(tag_of_domain(c.name, below_->seed()));
                domains.insert(c.name);
                break;
            case change::kind::forget_all:
                words.clear();
                domains.clear();
                begin_to_forget_all();
                forget_all_in_memory();
                break;
        }
    }
    if (!domains.empty()) forget_domains_here(domains);
    std::vector<smtpclient::mailbox> forgotten;
    std::vector<smtpclient::mailbox> known;
    for (const auto& [domain, of_domain] : words) {
        for (const auto& [key, word] : of_domain) {
            (word.declared ? known : forgotten).push_back(word.recipient);
        }
    }
    if (!forgotten.empty()) forget_here(forgotten);
    if (!known.empty()) declare_here(known, now);
}

milliseconds cache::kept_after_life(const smtpclient::verdict& v) const {
    const cache_settings s = memory_.settings();
    return v.outcome() == outcome::deliverable ? s.stale : s.undeliverable_max;
}

milliseconds cache::declared_life() const {
    return lifetime(declared_verdict(), memory_.settings());
}

milliseconds cache::longest_life() const {
    const cache_settings s = memory_.settings();
    const auto deliverable = std::max(s.deliverable, s.catch_all) + s.stale;
    const auto refused = 2 * std::max(s.undeliverable, s.undeliverable_max);
    // And an hour, for what was under way when something was forgotten.
    return std::max(deliverable, refused) + std::chrono::hours(1);
}

std::size_t cache::forget_all() {
    const std::lock_guard one_by_one(changing_mutex_);
    if (tell_) tell_({{change::kind::forget_all, {}}});
    begin_to_forget_all();
    below_->forget_all();
    return forget_all_in_memory();
}

void cache::begin_to_forget_all() {
    changes_.add_to_all();
    tell_of_forgetting("");
}

std::size_t cache::forget_all_in_memory() {
    changes_.add_to_all();
    forget_doubts();
    const entry_counts before = memory_.size();
    memory_.clear();
    return before.deliverable + before.undeliverable + before.undetermined;
}

entry_counts cache::count_domain(std::string_view lower_case) {
    return memory_.count_domain(tag_of_domain(lower_case, below_->seed()));
}

std::vector<known> cache::show(const smtpclient::mailbox& recipient) {
    return memory_.show(tags_of(recipient, below_->seed()).address);
}

}  // namespace callforward::milter::verdicts
