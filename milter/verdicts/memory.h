// What is known about recipients, in memory ([cache] of INTERFACE section 2).
//
// Safe to use from any thread: tables are split into shards by digest, each behind a mutex that is
// held for one look-up; find() allocates nothing. An answer about the recipient alone is found
// whoever sends; others only for the same sender and MAIL parameters. Lives: a refusal's doubles at
// each repeat; a use never prolongs one; all are cut by up to 10 % at random, so that what was
// learnt together is not asked again together. From three quarters of its life on, a deliverable is
// to be refreshed: one caller in a minute is told so. Expired, it is kept for `stale`, and given as
// stale: good only while the next hop cannot be reached. So is what is not believed (trust.h), and
// a refusal then not at all: neither hides what is. A failed probe replaces no answer that says
// something. The clock is an argument. Every byte that is kept is bounded (record.h, trimmed()).
#pragma once

#include "milter/settings.h"
#include "milter/verdicts/key.h"
#include "milter/verdicts/table.h"
#include "smtpclient/verdict.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace callforward::milter::verdicts {

class trust;

// Shared: a reader decides and logs without the lock, while another thread may evict the entry.
using shared_verdict = std::shared_ptr<const smtpclient::verdict>;

struct known {
    shared_verdict kept;                      // never null
    std::shared_ptr<const std::string> text;  // the reply's, where it is not in `kept`
    steady_clock::time_point learnt;
    steady_clock::time_point expires;
    steady_clock::time_point checked;  // see trust.h
    // Expired, or not believed: good if a fresh call-forward finds the next hop unreachable.
    bool stale = false;
    bool unreachable = false;  // and stale: it has just been found so, no need to ask
    bool refused = false;      // and stale: since then it was refused, though that is in doubt
    bool refresh = false;      // good, and this caller is to ask again in the background

    [[nodiscard]] shared_verdict verdict() const;  // allocates where there is a text
};

struct kept_entry {  // what became of a verdict, for a store
    digest key;
    steady_clock::time_point learnt;
    steady_clock::time_point expires;
    std::uint8_t repeats = 0;
    bool declared = false;
};

// Whether what is known of the recipient for any sender is taken out for it if it is "deliverable":
// a refusal that is not kept in its place would be hidden by it.
[[nodiscard]] bool outdates_deliverable(const smtpclient::verdict& v,
                                        const digest& recipient_only,
                                        const std::optional<kept_entry>& kept);

struct entry_counts {  // what has expired and was not looked for since is still counted
    std::size_t deliverable = 0;
    std::size_t undeliverable = 0;
    std::size_t undetermined = 0;

    [[nodiscard]] std::size_t& of(smtpclient::outcome o);
    bool operator==(const entry_counts&) const = default;
};

// How long a verdict is kept, before jitter; 0: not at all. repeats: refusals just before it.
[[nodiscard]] std::chrono::seconds lifetime(const smtpclient::verdict& v,
                                            const cache_settings& s,
                                            unsigned repeats = 0);

// Undeliverable, and not for a mailbox that is full: that one is there.
[[nodiscard]] bool denies(const smtpclient::verdict& v);

// What is known of an address that was declared to exist.
[[nodiscard]] smtpclient::verdict declared_verdict();

class memory {
public:
    // random seeds the jitter. A capacity of 0 keeps nothing in its segment.
    explicit memory(const cache_settings& settings,
                    std::uint64_t random = hash_seed::of_process().first);
    memory(const memory&) = delete;
    memory& operator=(const memory&) = delete;
    ~memory();

    [[nodiscard]] std::optional<known> find(const question_key& key, steady_clock::time_point now);
    // Before the first find(); must outlive the memory.
    void believe(const trust* t) { trust_ = t; }
    // What find() would give of the recipient whoever sends, if it is not stale.
    [[nodiscard]] std::optional<known> find_fresh(const recipient_key& whom,
                                                  steady_clock::time_point now);
    // What is known to be deliverable was refused: it stays known, but is not what was heard last.
    void mark_refused(const question_key& key);
    // asked: when the question was, as of which the answer is believed; `now` if not given. Nothing
    // when it is not kept: no lifetime, or something better is known.
    std::optional<kept_entry> store(const question_key& key,
                                    const smtpclient::verdict& v,
                                    steady_clock::time_point now,
                                    std::optional<steady_clock::time_point> asked = std::nullopt);
    // What a store had, seen there just now. Replaces what is there only when `checked`, and when
    // that is no younger.
    void restore(const kept_entry& e,
                 const recipient_tags& tags,
                 const smtpclient::verdict& v,
                 std::optional<steady_clock::time_point> checked = std::nullopt);
    // The address exists, whatever was known before, which forget_addresses() has forgotten:
    // deliverable under every route and policy, until a next hop says otherwise.
    kept_entry enter_declared(const digest& key,
                              const recipient_tags& tags,
                              steady_clock::time_point now);
    // What has just been stored or restored, learnt then, is not to be known after all.
    void withdraw(const digest& key, steady_clock::time_point learnt);
    // Return how many entries there were; all shards are looked through.
    std::size_t forget_addresses(const tag_set& tags);
    std::size_t forget_domains(const std::set<std::uint32_t>& tags);
    // Only what says that a recipient does not exist, learnt since.
    std::size_t forget_refusals(const tag_set& domain_tags, steady_clock::time_point since);
    [[nodiscard]] std::vector<known> show(std::uint64_t address_tag);
    [[nodiscard]] entry_counts count_domain(std::uint32_t tag);

    // New lifetimes, for what is stored from now on; the capacities stay those of the start.
    void use(const cache_settings& settings);
    [[nodiscard]] cache_settings settings() const;
    void clear();
    [[nodiscard]] entry_counts size() const;
    [[nodiscard]] std::uint64_t evictions() const;  // for want of room, since the start

private:
    class shard;

    [[nodiscard]] shard& shard_of(const digest& key) const;
    [[nodiscard]] std::optional<known> look(const digest& key, steady_clock::time_point now);
    [[nodiscard]] shared_verdict shared(const smtpclient::verdict& v);
    template <class Condition>
    std::size_t forget(Condition condition);

    std::atomic<std::chrono::seconds> stale_;  // these two are read by every look-up
    std::atomic<std::chrono::seconds> remembered_;
    mutable std::mutex settings_mutex_;
    cache_settings settings_;
    std::vector<std::unique_ptr<shard>> shards_;
    const trust* trust_ = nullptr;
    std::mutex verdicts_mutex_;
    std::unordered_map<std::string, std::weak_ptr<const smtpclient::verdict>> verdicts_;
    std::size_t sweep_verdicts_at_ = 1024;
};

}  // namespace callforward::milter::verdicts
