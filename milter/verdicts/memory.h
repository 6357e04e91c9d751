// What is known about recipients, in memory.
//
// Safe to use from any thread: the table is split into shards by hash, each behind a mutex that is
// held for one look-up. An answer about the recipient alone is found whoever sends; others only for
// the same sender and MAIL parameters. Answers that say something (deliverable, undeliverable) have
// priority: one that is still fresh is not replaced by a failed probe. Two segments with capacities
// of their own, so that junk can not push good addresses out; within a shard the least recently
// used goes first. A use never prolongs a life. The clock is an argument; lives are cut by up to 10
// % at random, so that what was learnt together is not asked again together. Not here yet: longer
// lives for repeated refusals, answers past their time, refreshing.
#pragma once

#include "milter/settings.h"
#include "milter/verdicts/key.h"
#include "smtpclient/verdict.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace callforward::milter::verdicts {

using std::chrono::steady_clock;

// Shared: a reader decides and logs without the lock, while another thread may evict the entry.
using shared_verdict = std::shared_ptr<const smtpclient::verdict>;

struct known {
    shared_verdict verdict;  // never null
    steady_clock::time_point learnt;
    steady_clock::time_point expires;
};

struct entry_counts {  // what has expired and was not looked for since is still counted
    std::size_t deliverable = 0;
    std::size_t undeliverable = 0;
    std::size_t undetermined = 0;

    bool operator==(const entry_counts&) const = default;
};

// How long a verdict is kept, before jitter; 0: not at all.
[[nodiscard]] std::chrono::seconds lifetime(const smtpclient::verdict& v, const cache_settings& s);

class memory {
public:
    // random seeds the jitter. A capacity of 0 keeps nothing in its segment.
    explicit memory(const cache_settings& settings,
                    std::uint64_t random = hash_seed::of_process().first);
    memory(const memory&) = delete;
    memory& operator=(const memory&) = delete;
    ~memory();

    [[nodiscard]] std::optional<known> find(const question_key& key, steady_clock::time_point now);
    // brief: the verdict is in doubt, and lives no longer than one that says nothing.
    void store(const question_key& key,
               shared_verdict verdict,
               steady_clock::time_point now,
               bool brief = false);
    // What was known last, also when it has expired; nothing when it is forgotten.
    [[nodiscard]] std::optional<smtpclient::outcome> last_outcome(const question_key& key) const;
    // New lifetimes, for what is stored from now on; the capacities stay those of the start.
    void use(const cache_settings& settings);
    void clear();
    [[nodiscard]] entry_counts size() const;

private:
    class shard;

    [[nodiscard]] shard& shard_of(const key_view& key) const;

    std::mutex settings_mutex_;
    cache_settings settings_;
    std::vector<std::unique_ptr<shard>> shards_;
};

}  // namespace callforward::milter::verdicts
