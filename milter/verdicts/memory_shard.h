// One part of the memory: a table behind its mutex, and what memory.h says of repeats, refreshes
// and stale answers. Included by memory.cpp only.
#pragma once

#include "milter/verdicts/memory.h"

#include <algorithm>
#include <utility>

namespace callforward::milter::verdicts {

inline bool says_something(const smtpclient::verdict& v) {
    return v.outcome() != smtpclient::outcome::undetermined;
}

// From then on a deliverable is asked for again while it still answers.
inline steady_clock::time_point refresh_time(steady_clock::time_point learnt,
                                             steady_clock::time_point expires) {
    return learnt + (expires - learnt) / 4 * 3;
}

class memory::shard {
public:
    static constexpr std::chrono::minutes between_refreshes{1};

    shard(std::size_t deliverable, std::size_t others, std::uint64_t random)
        : table_(deliverable, others), random_(random) {}

    // stale: how long after its life a deliverable is given; remembered: how long a refusal is
    // kept, or what has its number of repeats, for the next one to be compared with.
    std::optional<known> find(const digest& key,
                              steady_clock::time_point now,
                              std::chrono::seconds stale,
                              std::chrono::seconds remembered) {
        const std::lock_guard lock(mutex_);
        const std::uint32_t number = table_.number_of(key);
        if (number == table::none) return std::nullopt;
        entry* const e = &table_.at(number);
        if (e->expires > now) {
            table_.use(number);
            known k = known_of(*e);
            k.refresh = e->is_deliverable() && !e->declared && now >= e->refresh_at;
            if (k.refresh) e->refresh_at = now + between_refreshes;
            return k;
        }
        const auto over = now - e->expires;
        if (e->is_deliverable() && !e->declared && over < stale) {
            known k = known_of(*e);
            k.stale = true;
            return k;
        }
        const bool counts =
            e->repeats > 0 || e->verdict->outcome() == smtpclient::outcome::undeliverable;
        if (!counts || over >= remembered) table_.erase(*e);
        return std::nullopt;
    }

    std::optional<kept_entry> store(entry&& fresh,
                                    const cache_settings& s,
                                    steady_clock::time_point now) {
        const std::lock_guard lock(mutex_);
        const bool says = says_something(*fresh.verdict);
        entry* const old = table_.find(fresh.key);
        if (old != nullptr) {
            if (old->expires > now && says_something(*old->verdict) && !says) return std::nullopt;
            fresh.repeats = repeats_after(*old, *fresh.verdict, s, now);
        }
        const auto life = lifetime(*fresh.verdict, s, fresh.repeats);
        if (old != nullptr && (says || life.count() > 0)) table_.erase(*old);
        if (life.count() <= 0) return std::nullopt;
        fresh.learnt = now;
        fresh.expires = now + jittered(life);
        fresh.refresh_at = refresh_time(fresh.learnt, fresh.expires);
        const kept_entry kept{
            fresh.key, fresh.learnt, fresh.expires, fresh.repeats, fresh.declared};
        table_.insert(std::move(fresh));
        return kept;
    }

    void restore(entry&& e, bool replace) {
        const std::lock_guard lock(mutex_);
        entry* const old = table_.find(e.key);
        if (old != nullptr && !replace) return;
        if (old != nullptr && old->learnt > e.learnt) {
            old->checked = e.checked;  // ours has not reached the store
            return;
        }
        if (old != nullptr) {
            // The same record, seen again by a clock that is a little off.
            e.refused = old->refused && e.learnt < old->learnt + std::chrono::minutes(1);
            table_.erase(*old);
        }
        table_.insert(std::move(e));
    }

    // Removes a deliverable: a later probe has come to another answer.
    void forget_deliverable(const digest& key) {
        const std::lock_guard lock(mutex_);
        entry* const e = table_.find(key);
        if (e != nullptr && e->is_deliverable()) table_.erase(*e);
    }

    void mark_refused(const digest& key) {
        const std::lock_guard lock(mutex_);
        entry* const e = table_.find(key);
        if (e != nullptr && e->is_deliverable()) e->refused = true;
    }

    // Unless it has another one by now.
    void withdraw(const digest& key, steady_clock::time_point learnt) {
        const std::lock_guard lock(mutex_);
        entry* const e = table_.find(key);
        if (e != nullptr && e->learnt == learnt) table_.erase(*e);
    }

    template <class Condition>
    std::size_t forget(Condition condition) {
        const std::lock_guard lock(mutex_);
        std::vector<digest> gone;
        table_.for_each([&](const entry& e) {
            if (condition(e)) gone.push_back(e.key);
        });
        for (const digest& key : gone) table_.erase(*table_.find(key));
        return gone.size();
    }

    void show(std::uint64_t address_tag, std::vector<known>& into) {
        const std::lock_guard lock(mutex_);
        table_.for_each([&](const entry& e) {
            if (e.address_tag == address_tag) into.push_back(known_of(e));
        });
    }

    void count_domain(std::uint32_t tag, entry_counts& counts) {
        const std::lock_guard lock(mutex_);
        table_.for_each([&](const entry& e) {
            if (e.domain_tag == tag) ++counts.of(e.verdict->outcome());
        });
    }

    [[nodiscard]] std::uint64_t evictions() {
        const std::lock_guard lock(mutex_);
        return table_.evictions();
    }

    void clear() {
        const std::lock_guard lock(mutex_);
        table_.clear();
    }

    void count(entry_counts& counts) {
        const std::lock_guard lock(mutex_);
        counts.deliverable += table_.deliverable();
        counts.undeliverable += table_.undeliverable();
        counts.undetermined += table_.others() - table_.undeliverable();
    }

private:
    static known known_of(const entry& e) {
        known k{e.verdict, e.text, e.learnt, e.expires, e.checked};
        k.refused = e.refused;
        return k;
    }

    // A refusal counts once its life is over; one learnt twice at the same time is one. A failed
    // probe in between hands the number on.
    static std::uint8_t repeats_after(const entry& old,
                                      const smtpclient::verdict& fresh,
                                      const cache_settings& s,
                                      steady_clock::time_point now) {
        if (fresh.outcome() == smtpclient::outcome::deliverable || old.is_deliverable()) return 0;
        if (now - old.expires >= s.undeliverable_max) return 0;
        const int repeats = old.repeats + (denies(*old.verdict) && old.expires <= now ? 1 : 0);
        return static_cast<std::uint8_t>(std::min(repeats, 60));
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
    table table_;
    std::uint64_t random_;
};

}  // namespace callforward::milter::verdicts
