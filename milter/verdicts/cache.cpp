#include "milter/verdicts/cache.h"

#include "milter/verdicts/lmdb_store.h"

#include <algorithm>
#include <utility>

namespace callforward::milter::verdicts {

using smtpclient::outcome;
using smtpclient::reason;
using std::chrono::duration_cast;
using std::chrono::milliseconds;

namespace {

constexpr unsigned most_repeats = 60;
constexpr milliseconds oldest = std::chrono::hours(24 * 40000);  // so that nothing overflows

// What is worth a write: answers about recipients that live longer than a restart takes.
bool belongs_in_store(const smtpclient::verdict& v) {
    return v.outcome() != outcome::undetermined && v.finding.reason != reason::mailbox_full;
}

}  // namespace

moment moment::now() {
    return {steady_clock::now(),
            std::chrono::time_point_cast<milliseconds>(std::chrono::system_clock::now())};
}

cache::cache(const cache_settings& settings, std::unique_ptr<verdicts::store> below)
    : below_(std::move(below)), seed_(below_->seed()), memory_(settings, seed_.first) {}

question_key cache::key_of(const smtpclient::question& q, std::string_view fingerprint) const {
    return {q, fingerprint, seed_};
}

std::optional<known> cache::find(const question_key& key,
                                 const smtpclient::mailbox& recipient,
                                 const moment& now) {
    // What is stale in memory is no fresher in the store.
    if (auto found = memory_.find(key, now.steady)) return found;
    bool restored = restore(key.recipient_only(), recipient, false, now);
    if (restore(key.with_sender(), recipient, false, now)) restored = true;
    if (restore(key.declared(), recipient, true, now)) restored = true;
    return restored ? memory_.find(key, now.steady) : std::nullopt;
}

bool cache::restore(const digest& key,
                    const smtpclient::mailbox& recipient,
                    bool declared,
                    const moment& now) {
    const auto r = below_->find(key);
    if (!r || r->recipient != recipient.key()) return false;
    const auto written_life = duration_cast<milliseconds>(r->expires - r->learnt);
    const milliseconds allowed = lifetime(r->verdict, memory_.settings(), most_repeats);
    const auto life = std::min(written_life, allowed);
    const bool from_future = r->learnt > now.wall;
    const auto age = from_future ? milliseconds{0} : std::min(now.wall - r->learnt, oldest);
    kept_entry e;
    e.key = key;
    e.learnt = now.steady - age;
    e.expires = e.learnt + life;
    e.repeats = r->repeats;
    e.declared = declared;
    memory_.restore(e, r->tags, r->verdict);
    if (from_future) put(e, r->tags, recipient, r->verdict, now);
    return true;
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

void cache::store(const question_key& key,
                  const smtpclient::mailbox& recipient,
                  const smtpclient::verdict& v,
                  const moment& now) {
    const auto kept = memory_.store(key, v, now.steady);
    if (!belongs_in_store(v)) return;
    // As in memory: an older "deliverable" would hide the refusal of this sender.
    if (v.outcome() == outcome::undeliverable && !smtpclient::about_recipient_alone(v)) {
        below_->erase(key.recipient_only());
    }
    if (kept) put(*kept, key.tags(), recipient, v, now);
}

void cache::declare(const smtpclient::mailbox& recipient, const moment& now) {
    const digest key = key_of_declared(recipient, seed_);
    const recipient_tags tags = tags_of(recipient, seed_);
    const kept_entry kept = memory_.declare(key, tags, now.steady);
    below_->forget_address(tags.address);
    if (kept.expires > kept.learnt) put(kept, tags, recipient, declared_verdict(), now);
}

std::size_t cache::forget(const smtpclient::mailbox& recipient) {
    const auto tag = tags_of(recipient, seed_).address;
    below_->forget_address(tag);
    return memory_.forget_address(tag);
}

std::size_t cache::forget_domain(std::string_view lower_case) {
    const auto tag = tag_of_domain(lower_case, seed_);
    below_->forget_domain(tag);
    return memory_.forget_domain(tag);
}

std::vector<known> cache::show(const smtpclient::mailbox& recipient) {
    return memory_.show(tags_of(recipient, seed_).address);
}

std::unique_ptr<store> make_store(const cache_settings& settings) {
    constexpr std::string_view lmdb = "lmdb:";
    if (!settings.store.starts_with(lmdb)) return std::make_unique<no_store>();
    lmdb_options options;
    options.directory = settings.store.substr(lmdb.size());
    // A record is 200 to 400 bytes, and pages are two thirds full.
    const std::size_t entries = settings.capacity + settings.undeliverable_capacity;
    options.map_size = std::max<std::size_t>(entries, 65536) * 1024;
    options.stale = settings.stale;
    options.remembered = settings.undeliverable_max;
    return std::make_unique<lmdb_store>(options);
}

}  // namespace callforward::milter::verdicts
