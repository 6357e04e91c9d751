#include "milter/verdicts/memory.h"

#include "milter/verdicts/memory_shard.h"
#include "milter/verdicts/record.h"
#include "milter/verdicts/trust.h"

#include <algorithm>
#include <utility>

namespace callforward::milter::verdicts {

using smtpclient::outcome;
using smtpclient::reason;
using smtpclient::verdict_class;

namespace {

constexpr std::size_t most_shards = 64;
constexpr std::size_t least_in_shard = 1024;  // so that a shard's own limit hardly shows

// A small capacity is one shard, whose order of eviction is then exact.
std::size_t shards_for(const cache_settings& s) {
    const std::size_t smaller = std::min(s.capacity, s.undeliverable_capacity);
    return std::clamp(smaller / least_in_shard, std::size_t{1}, most_shards);
}

// The part of a capacity that is the n-th shard's; all parts together are the capacity.
std::size_t part_of(std::size_t capacity, std::size_t shards, std::size_t n) {
    return capacity / shards + (n < capacity % shards ? 1 : 0);
}

std::shared_ptr<const std::string> text_of(smtpclient::verdict& v) {
    if (!v.reply || v.outcome() == outcome::deliverable) return nullptr;
    std::string joined;
    for (const auto& line : v.reply->lines) {
        if (!joined.empty()) joined += '\n';
        joined += line;
    }
    v.reply->lines.clear();
    joined.shrink_to_fit();
    return std::make_shared<const std::string>(std::move(joined));
}

}  // namespace

shared_verdict known::verdict() const {
    if (!text || !kept->reply) return kept;
    auto whole = std::make_shared<smtpclient::verdict>(*kept);
    auto& lines = whole->reply->lines;
    std::size_t begin = 0;
    for (;;) {
        const auto end = text->find('\n', begin);
        lines.push_back(text->substr(begin, end - begin));
        if (end == std::string::npos) return whole;
        begin = end + 1;
    }
}

memory::memory(const cache_settings& settings, std::uint64_t random)
    : stale_(settings.stale), remembered_(settings.undeliverable_max), settings_(settings) {
    const std::size_t shards = shards_for(settings);
    for (std::size_t n = 0; n < shards; ++n) {
        shards_.push_back(
            std::make_unique<shard>(part_of(settings.capacity, shards, n),
                                    part_of(settings.undeliverable_capacity, shards, n),
                                    random + n));
    }
}

memory::~memory() = default;

// The other half of the digest: the first one chooses the place within the shard.
memory::shard& memory::shard_of(const digest& key) const {
    return *shards_[key.second % shards_.size()];
}

std::optional<known> memory::look(const digest& key, steady_clock::time_point now) {
    auto found = shard_of(key).find(key, now, stale_.load(), remembered_.load());
    if (!found || !trust_ || trust_->holds(found->checked, now, key.second)) return found;
    if (found->kept->outcome() != outcome::deliverable) return std::nullopt;
    found->stale = true;
    found->refresh = false;
    return found;
}

std::optional<known> memory::find_fresh(const recipient_key& whom, steady_clock::time_point now) {
    auto recipient = look(whom.recipient_only(), now);
    if (recipient && recipient->stale) recipient.reset();
    return recipient;
}

std::optional<known> memory::find(const question_key& key, steady_clock::time_point now) {
    auto recipient = look(key.recipient_only(), now);
    if (recipient && !recipient->stale) return recipient;
    auto sender = look(key.with_sender(), now);
    const bool says = sender && says_something(*sender->kept);
    if (says && !sender->stale) return sender;
    auto declared = look(key.declared(), now);
    if (declared && !declared->stale) return declared;
    if (says) return sender;
    auto& stale = declared ? declared : recipient;
    if (!sender) return stale;
    if (!stale || sender->kept->finding.verdict_class != verdict_class::unreachable) {
        return sender;
    }
    stale->unreachable = true;
    return stale;
}

// Equal verdicts are one object: all recipients of a host that answers alike share it.
shared_verdict memory::shared(const smtpclient::verdict& v) {
    std::string key = encode(v);
    const std::lock_guard lock(verdicts_mutex_);
    auto& known = verdicts_[std::move(key)];
    if (auto existing = known.lock()) return existing;
    auto fresh = std::make_shared<const smtpclient::verdict>(v);
    known = fresh;
    if (verdicts_.size() >= sweep_verdicts_at_) {
        std::erase_if(verdicts_, [](const auto& row) { return row.second.expired(); });
        sweep_verdicts_at_ = std::max<std::size_t>(1024, 2 * verdicts_.size());
    }
    return fresh;
}

std::optional<kept_entry> memory::store(const question_key& key,
                                        const smtpclient::verdict& v,
                                        steady_clock::time_point now,
                                        std::optional<steady_clock::time_point> asked) {
    const cache_settings s = settings();
    const bool about_recipient = smtpclient::about_recipient_alone(v);
    smtpclient::verdict kept = trimmed(v);
    entry e;
    e.key = about_recipient ? key.recipient_only() : key.with_sender();
    e.set_tags(key.tags());
    e.text = text_of(kept);
    e.verdict = shared(kept);
    e.checked = asked.value_or(now);
    shard& into = shard_of(e.key);
    auto became = into.store(std::move(e), s, now);
    if (outdates_deliverable(v, key.recipient_only(), became)) {
        shard_of(key.recipient_only()).forget_deliverable(key.recipient_only());
    }
    return became;
}

void memory::restore(const kept_entry& e,
                     const recipient_tags& tags,
                     const smtpclient::verdict& v,
                     std::optional<steady_clock::time_point> checked) {
    smtpclient::verdict kept = trimmed(v);
    entry restored;
    restored.key = e.key;
    restored.set_tags(tags);
    restored.text = text_of(kept);
    restored.verdict = shared(kept);
    restored.learnt = e.learnt;
    restored.expires = e.expires;
    restored.refresh_at = refresh_time(e.learnt, e.expires);
    restored.repeats = e.repeats;
    restored.declared = e.declared;
    restored.checked = checked.value_or(e.learnt);
    shard_of(e.key).restore(std::move(restored), checked.has_value());
}

kept_entry memory::enter_declared(const digest& key,
                                  const recipient_tags& tags,
                                  steady_clock::time_point now) {
    entry e;
    e.key = key;
    e.set_tags(tags);
    e.declared = true;
    e.verdict = shared(declared_verdict());
    e.checked = now;
    return shard_of(key).store(std::move(e), settings(), now).value_or(kept_entry{key, now, now});
}

void memory::mark_refused(const question_key& key) {
    for (const digest& each : {key.recipient_only(), key.with_sender()}) {
        shard_of(each).mark_refused(each);
    }
}

void memory::withdraw(const digest& key, steady_clock::time_point learnt) {
    shard_of(key).withdraw(key, learnt);
}

template <class Condition>
std::size_t memory::forget(Condition condition) {
    std::size_t count = 0;
    for (auto& s : shards_) count += s->forget(condition);
    return count;
}

std::size_t memory::forget_addresses(const tag_set& tags) {
    return forget([&](const entry& e) { return tags.contains(e.address_tag); });
}

std::size_t memory::forget_domains(const std::set<std::uint32_t>& tags) {
    return forget([&](const entry& e) { return tags.contains(e.domain_tag); });
}

std::size_t memory::forget_refusals(const tag_set& domain_tags, steady_clock::time_point since) {
    return forget([&](const entry& e) {
        return e.verdict->outcome() == outcome::undeliverable && e.learnt >= since &&
               domain_tags.contains(e.domain_tag);
    });
}

std::vector<known> memory::show(std::uint64_t address_tag) {
    std::vector<known> found;
    for (auto& s : shards_) s->show(address_tag, found);
    return found;
}

entry_counts memory::count_domain(std::uint32_t tag) {
    entry_counts counts;
    for (auto& s : shards_) s->count_domain(tag, counts);
    return counts;
}

std::uint64_t memory::evictions() const {
    std::uint64_t all = 0;
    for (const auto& s : shards_) all += s->evictions();
    return all;
}

void memory::use(const cache_settings& settings) {
    const std::lock_guard lock(settings_mutex_);
    settings_ = settings;
    stale_ = settings.stale;
    remembered_ = settings.undeliverable_max;
}

cache_settings memory::settings() const {
    const std::lock_guard lock(settings_mutex_);
    return settings_;
}

void memory::clear() {
    for (auto& s : shards_) s->clear();
}

entry_counts memory::size() const {
    entry_counts counts;
    for (const auto& s : shards_) s->count(counts);
    return counts;
}

}  // namespace callforward::milter::verdicts
