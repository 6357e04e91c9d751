#include "milter/verdicts/cache.h"

#include "milter/verdicts/lmdb_store.h"

#include <algorithm>
#include <map>
#include <utility>

namespace callforward::milter::verdicts {

using smtpclient::outcome;
using smtpclient::reason;
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
    return v.outcome() != outcome::undetermined && v.finding.reason != reason::mailbox_full;
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

std::optional<known> cache::find_fresh(const smtpclient::question& q,
                                       std::string_view fingerprint,
                                       steady_clock::time_point now) {
    const recipient_key whom(q, fingerprint, below_->seed());
    auto found = memory_.find_fresh(whom, now);
    if (found) found = believed(std::move(*found), whom, now);
    if (found && found->stale) found.reset();
    return found;
}

std::optional<known> cache::find(const question_key& key,
                                 const smtpclient::mailbox& recipient,
                                 const moment& now) {
    if (auto found = memory_.find(key, now.steady)) {
        return believed(std::move(*found), key, now.steady);
    }
    // What is stale in memory is no fresher in the store.
    bool restored = restore(key.recipient_only(), recipient, false, now);
    if (restore(key.with_sender(), recipient, false, now)) restored = true;
    if (restore(key.declared(), recipient, true, now)) restored = true;
    return restored ? memory_.find(key, now.steady) : std::nullopt;
}

std::optional<known> cache::recall(const question_key& key, const moment& now) {
    auto found = memory_.find(key, now.steady);
    return found ? believed(std::move(*found), key, now.steady) : std::nullopt;
}

std::optional<known> cache::believed(known found,
                                     const recipient_key& key,
                                     steady_clock::time_point now) {
    const std::uint64_t spread = key.recipient_only().second;
    if (!trust_ || trust_->holds(found.checked, now, spread)) return found;
    if (found.kept->outcome() != outcome::deliverable) return std::nullopt;
    found.stale = true;
    found.refresh = false;
    return found;
}

bool cache::restore(const digest& key,
                    const smtpclient::mailbox& recipient,
                    bool declared,
                    const moment& now) {
    const auto r = below_->find(key);
    if (!r || r->recipient != recipient.key()) return false;
    const bool from_future = r->learnt > now.wall;
    const auto age = from_future ? milliseconds{0} : std::min(now.wall - r->learnt, oldest);
    const kept_entry e = aged(key, *r, age, declared, memory_.settings(), now.steady);
    memory_.restore(e, r->tags, r->verdict);
    if (from_future) put(e, r->tags, recipient, r->verdict, now);
    return true;
}

void cache::take(const digest& key,
                 const smtpclient::mailbox& recipient,
                 const recipient_tags& tags,
                 const record& r,
                 milliseconds age,
                 bool declared,
                 const moment& now) {
    if (r.recipient != recipient.key()) return;
    age = std::min(age, oldest);
    const kept_entry e = aged(key, r, age, declared, memory_.settings(), now.steady);
    memory_.restore(e, tags, r.verdict, now.steady);
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

std::optional<kept_entry> cache::store(const question_key& key,
                                       const smtpclient::mailbox& recipient,
                                       const smtpclient::verdict& v,
                                       const moment& now) {
    const auto kept = memory_.store(key, v, now.steady);
    if (!belongs_in_store(v)) return std::nullopt;
    // As in memory: an older "deliverable" would hide the refusal of this sender.
    if (v.outcome() == outcome::undeliverable && !smtpclient::about_recipient_alone(v)) {
        below_->erase(key.recipient_only());
    }
    if (kept) put(*kept, key.tags(), recipient, v, now);
    return kept;
}

void cache::doubt(const question_key& key,
                  const smtpclient::verdict& v,
                  bool of_closed_domain,
                  milliseconds life,
                  steady_clock::time_point now) {
    const auto& under =
        smtpclient::about_recipient_alone(v) ? key.recipient_only() : key.with_sender();
    doubts_.add(under, v, of_closed_domain, now + life, now);
}

verdicts::doubt cache::doubted(const question_key& key, steady_clock::time_point now) const {
    auto found = doubts_.find(key.recipient_only(), now);
    return found.verdict ? found : doubts_.find(key.with_sender(), now);
}

void cache::declare(const smtpclient::mailbox& recipient, const moment& now) {
    declare(std::vector{recipient}, now);
}

void cache::declare(const std::vector<smtpclient::mailbox>& recipients, const moment& now) {
    if (tell_) {
        std::vector<change> all;
        all.reserve(recipients.size());
        for (const auto& recipient : recipients)
            all.push_back({change::kind::declare, recipient.address()});
        tell_(all);
    }
    declare_here(recipients, now);
    // Who declares more than can wait to be written is held up instead.
    if (recipients.size() >= many) below_->flush(for_writing);
}

// Before what is known of a name is changed: the seed that names are made with, when it is certain.
hash_seed cache::begin_change() {
    forget_doubts();
    below_->wait_for_opening(for_opening);
    return below_->seed();
}

void cache::declare_here(const std::vector<smtpclient::mailbox>& recipients, const moment& now) {
    const hash_seed seed = begin_change();
    tag_set tags;
    for (const auto& recipient : recipients) tags.insert(tags_of(recipient, seed).address);
    memory_.forget_addresses(tags);
    below_->forget_addresses(std::move(tags));
    for (const auto& recipient : recipients) {
        const recipient_tags its = tags_of(recipient, below_->seed());
        const kept_entry kept =
            memory_.enter_declared(key_of_declared(recipient, below_->seed()), its, now.steady);
        if (kept.expires > kept.learnt) put(kept, its, recipient, declared_verdict(), now);
    }
}

std::size_t cache::forget(const smtpclient::mailbox& recipient) {
    if (tell_) tell_({{change::kind::forget_address, recipient.address()}});
    return forget_here(recipient);
}

std::size_t cache::forget_here(const smtpclient::mailbox& recipient) {
    const auto tag = tags_of(recipient, begin_change()).address;
    below_->forget_address(tag);
    return memory_.forget_address(tag);
}

std::size_t cache::forget_domain(std::string_view lower_case) {
    if (tell_) tell_({{change::kind::forget_domain, std::string(lower_case)}});
    return forget_domain_here(lower_case);
}

std::size_t cache::forget_domain_here(std::string_view lower_case) {
    const auto tag = tag_of_domain(lower_case, begin_change());
    below_->forget_domain(tag);
    return memory_.forget_domain(tag);
}

// Each address once, by the last word about it or all of its domain: all of memory is looked
// through for them together, after the domains.
void cache::apply(const std::vector<change>& changes, const moment& now) {
    struct last_word {
        smtpclient::mailbox recipient;
        bool declared;
    };
    // By the domain's tag, so that a domain takes out its own at once.
    std::map<std::uint32_t, std::map<std::string, last_word>> words;
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
                forget_domain_here(c.name);
                break;
            case change::kind::forget_all:
                words.clear();
                forget_doubts();
                memory_.clear();
                break;
        }
    }
    tag_set forgotten;
    std::vector<smtpclient::mailbox> known;
    for (const auto& [domain, of_domain] : words) {
        for (const auto& [key, word] : of_domain) {
            if (word.declared) known.push_back(word.recipient);
            if (!word.declared) forgotten.insert(tags(word.recipient).address);
        }
    }
    if (!forgotten.empty()) memory_.forget_addresses(forgotten);
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
    if (tell_) tell_({{change::kind::forget_all, {}}});
    forget_doubts();
    below_->forget_all();
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

std::string directory_of(const cache_settings& settings) {
    constexpr std::string_view lmdb = "lmdb:";
    return settings.store.starts_with(lmdb) ? settings.store.substr(lmdb.size()) : "";
}

std::unique_ptr<store> make_store(const cache_settings& settings) {
    lmdb_options options;
    options.directory = directory_of(settings);
    if (options.directory.empty()) return std::make_unique<no_store>();
    // A record is 200 to 400 bytes, and pages are two thirds full.
    const std::size_t entries = settings.capacity + settings.undeliverable_capacity;
    options.map_size = std::max<std::size_t>(entries, 65536) * 1024;
    options.stale = settings.stale;
    options.remembered = settings.undeliverable_max;
    return std::make_unique<lmdb_store>(options);
}

}  // namespace callforward::milter::verdicts
