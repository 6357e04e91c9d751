#include "milter/verdicts/memory.h"

#include <algorithm>
#include <array>
#include <list>
#include <mutex>
#include <string>
#include <unordered_map>
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

struct key_hash {
    std::size_t operator()(const key_view& key) const { return key.hash; }
};

bool says_something(const smtpclient::verdict& v) {
    return v.outcome() != outcome::undetermined;
}

}  // namespace

std::chrono::seconds lifetime(const smtpclient::verdict& v, const cache_settings& s) {
    switch (v.finding.verdict_class) {
        case verdict_class::deliverable:
            return v.finding.reason == reason::catch_all ? s.catch_all : s.deliverable;
        case verdict_class::undeliverable:
            // A full mailbox is about now.
            return v.finding.reason == reason::mailbox_full ? s.undetermined : s.undeliverable;
        case verdict_class::unreachable:
            // Says something about us and this moment only.
            if (v.finding.reason == reason::overloaded) return std::chrono::seconds{0};
            return s.undetermined;
        case verdict_class::deferred:
        case verdict_class::refused:
        case verdict_class::insecure:
            return s.undetermined;
        case verdict_class::sender_refused:
        case verdict_class::skipped:
            return std::chrono::seconds{0};
    }
    return std::chrono::seconds{0};
}

class memory::shard {
public:
    shard(std::size_t deliverable, std::size_t others, std::uint64_t random)
        : segments_{segment{{}, deliverable}, segment{{}, others}}, random_(random) {}

    std::optional<known> find(const key_view& key, steady_clock::time_point now) {
        const std::lock_guard lock(mutex_);
        const auto found = table_.find(key);
        if (found == table_.end()) return std::nullopt;
        if (found->second->what.expires <= now) {
            // That it was deliverable is still worth knowing: see last_outcome().
            if (found->second->what.verdict->outcome() != outcome::deliverable) erase(found);
            return std::nullopt;
        }
        // To the front; iterators into a list survive its splicing.
        auto& entries = segment_of(*found->second->what.verdict).entries;
        entries.splice(entries.begin(), entries, found->second);
        return found->second->what;
    }

    std::optional<outcome> last_outcome(const key_view& key) {
        const std::lock_guard lock(mutex_);
        const auto found = table_.find(key);
        if (found == table_.end()) return std::nullopt;
        return found->second->what.verdict->outcome();
    }

    void store(const key_view& key,
               shared_verdict verdict,
               std::chrono::seconds life,
               steady_clock::time_point now) {
        const std::lock_guard lock(mutex_);
        if (const auto found = table_.find(key); found != table_.end()) {
            const known& old = found->second->what;
            const bool fresh = old.expires > now;
            if (fresh && says_something(*old.verdict) && !says_something(*verdict)) return;
            erase(found);
        }
        segment& into = segment_of(*verdict);
        if (into.capacity == 0 || life.count() <= 0) return;
        if (into.entries.size() >= into.capacity) erase(table_.find(into.entries.back().key()));
        const auto expires = now + jittered(life);
        into.entries.push_front(
            {std::string(key.text), key.hash, {std::move(verdict), now, expires}});
        if (is_undeliverable(into.entries.front())) ++undeliverable_;
        // The view is of the entry's own text, which does not move in a list.
        table_.emplace(into.entries.front().key(), into.entries.begin());
    }

    // Removes a deliverable: a later probe has come to another answer.
    void forget_deliverable(const key_view& key) {
        const std::lock_guard lock(mutex_);
        const auto found = table_.find(key);
        if (found == table_.end()) return;
        if (found->second->what.verdict->outcome() == outcome::deliverable) erase(found);
    }

    void clear() {
        const std::lock_guard lock(mutex_);
        table_.clear();
        for (auto& s : segments_) s.entries.clear();
        undeliverable_ = 0;
    }

    void count(entry_counts& counts) {
        const std::lock_guard lock(mutex_);
        counts.deliverable += segments_[0].entries.size();
        counts.undeliverable += undeliverable_;
        counts.undetermined += segments_[1].entries.size() - undeliverable_;
    }

private:
    struct entry {
        std::string text;
        std::uint64_t hash;
        known what;

        [[nodiscard]] key_view key() const { return {text, hash}; }
    };
    using list = std::list<entry>;
    using table = std::unordered_map<key_view, list::iterator, key_hash>;
    struct segment {
        list entries;  // the most recently used first
        std::size_t capacity;
    };

    segment& segment_of(const smtpclient::verdict& v) {
        return segments_[v.outcome() == outcome::deliverable ? 0 : 1];
    }

    static bool is_undeliverable(const entry& e) {
        return e.what.verdict->outcome() == outcome::undeliverable;
    }

    void erase(table::iterator at) {
        const list::iterator gone = at->second;
        table_.erase(at);  // first: its key is a view of the entry's text
        if (is_undeliverable(*gone)) --undeliverable_;
        segment_of(*gone->what.verdict).entries.erase(gone);
    }

    // Shortened by up to a tenth; never prolonged, a configured life is a promise.
    steady_clock::duration jittered(std::chrono::seconds life) {
        // SplitMix64: nobody gains by guessing it.
        random_ += 0x9e3779b97f4a7c15U;
        std::uint64_t z = random_;
        z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
        z ^= z >> 31U;
        const auto thousandths = static_cast<std::int64_t>(z % 101);
        const std::chrono::milliseconds whole(life);
        return whole - whole / 1000 * thousandths;
    }

    std::mutex mutex_;
    std::array<segment, 2> segments_;  // deliverable, and all others
    table table_;
    std::size_t undeliverable_ = 0;  // of the entries of the second segment
    std::uint64_t random_;
};

memory::memory(const cache_settings& settings, std::uint64_t random) : settings_(settings) {
    const std::size_t shards = shards_for(settings);
    for (std::size_t n = 0; n < shards; ++n) {
        shards_.push_back(
            std::make_unique<shard>(part_of(settings.capacity, shards, n),
                                    part_of(settings.undeliverable_capacity, shards, n),
                                    random + n));
    }
}

memory::~memory() = default;

// The high bits: the low ones choose the bucket within the shard.
memory::shard& memory::shard_of(const key_view& key) const {
    return *shards_[(key.hash >> 32U) % shards_.size()];
}

std::optional<known> memory::find(const question_key& key, steady_clock::time_point now) {
    const key_view about_recipient = key.recipient_only();
    if (auto found = shard_of(about_recipient).find(about_recipient, now)) return found;
    const key_view about_both = key.with_sender();
    return shard_of(about_both).find(about_both, now);
}

std::optional<outcome> memory::last_outcome(const question_key& key) const {
    const key_view about_recipient = key.recipient_only();
    if (auto last = shard_of(about_recipient).last_outcome(about_recipient)) return last;
    const key_view about_both = key.with_sender();
    return shard_of(about_both).last_outcome(about_both);
}

void memory::store(const question_key& key,
                   shared_verdict verdict,
                   steady_clock::time_point now,
                   bool brief) {
    std::chrono::seconds life;
    {
        const std::lock_guard lock(settings_mutex_);
        life = lifetime(*verdict, settings_);
        if (brief) life = std::min(life, settings_.undetermined);
    }
    const key_view about_recipient = key.recipient_only();
    if (smtpclient::about_recipient_alone(*verdict)) {
        shard_of(about_recipient).store(about_recipient, std::move(verdict), life, now);
        return;
    }
    // Found before the one with the sender, an older "deliverable" would hide the refusal.
    if (verdict->outcome() == outcome::undeliverable) {
        shard_of(about_recipient).forget_deliverable(about_recipient);
    }
    const key_view about_both = key.with_sender();
    shard_of(about_both).store(about_both, std::move(verdict), life, now);
}

void memory::use(const cache_settings& settings) {
    const std::lock_guard lock(settings_mutex_);
    settings_ = settings;
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
