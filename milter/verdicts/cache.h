// What is known about recipients: memory first, then the store, which fills memory again. What a
// shared store has is given by take(), from an event loop; see fleet/.
//
// Memory runs on the monotonic clock, the store on the wall clock; this is where one becomes the
// other. A record from a future that the wall clock has not reached is taken as learnt now and
// written back so, and no record outlives the life that the configuration gives it: a clock that
// steps makes nothing immortal. Answers without a word about the recipient (undetermined, a full
// mailbox) live in memory only. Thread: any.
#pragma once

#include "milter/settings.h"
#include "milter/verdicts/change_counts.h"
#include "milter/verdicts/doubts.h"
#include "milter/verdicts/key.h"
#include "milter/verdicts/memory.h"
#include "milter/verdicts/outages.h"
#include "milter/verdicts/store.h"
#include "milter/verdicts/trust.h"
#include "smtpclient/mailbox.h"
#include "smtpclient/verdict.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::milter::verdicts {

struct moment {
    steady_clock::time_point steady;
    wall_time wall;

    [[nodiscard]] static moment now();
};

// When a question was asked. Its answer may be older than what was changed since, here or by
// another edge whose notice was lost.
struct beginning {
    change_count changes;
    steady_clock::time_point when;
};

struct stored {                      // what became of an answer, for a store that edges share
    std::optional<kept_entry> kept;  // nothing: it is not worth to be kept elsewhere
    bool outdates = false;           // an older "deliverable" for any sender: that is to go
};

// What an operator says of what is known; other edges are told.
struct change {
    enum class kind : std::uint8_t { forget_address, forget_domain, forget_all, declare };
    kind what;
    std::string name;  // mailbox::address(), a domain, or ""
};

class cache {
public:
    cache(const cache_settings& settings, std::unique_ptr<store> below);

    [[nodiscard]] question_key key_of(const smtpclient::question& q,
                                      std::string_view fingerprint) const;
    [[nodiscard]] hash_seed seed() const { return below_->seed(); }  // of all keys
    // What memory has of the recipient whoever sends, if nothing speaks against giving it: all that
    // most look-ups need. Allocates nothing.
    [[nodiscard]] std::optional<known> find_fresh(const recipient_key& whom,
                                                  steady_clock::time_point now);
    // A hit in memory allocates nothing; a miss is looked for in the store.
    [[nodiscard]] std::optional<known> find(const question_key& key,
                                            const smtpclient::mailbox& recipient,
                                            const moment& now);
    // The same of memory alone: for who has just looked, and asks what has come since.
    [[nodiscard]] std::optional<known> recall(const question_key& key, const moment& now);
    // For who asks: an answer is older than a change that was made since this was another number.
    [[nodiscard]] change_count changes_of(const smtpclient::mailbox& recipient) const;
    // Of a question that is older than a change nothing is kept; others are believed as of theirs.
    stored store(const question_key& key,
                 const smtpclient::mailbox& recipient,
                 const smtpclient::verdict& v,
                 const moment& now,
                 const std::optional<beginning>& began = std::nullopt);
    // A refusal in doubt: it changes nothing that is known, and answers for so long, or until
    // forget_doubts(). Given where nothing is known that may answer. What is known is marked as
    // refused, but for a closed domain's.
    void doubt(const question_key& key,
               const smtpclient::verdict& v,
               bool of_closed_domain,
               milliseconds life,
               steady_clock::time_point now);
    [[nodiscard]] verdicts::doubt doubted(const question_key& key,
                                          steady_clock::time_point now) const;
    void forget_doubts() { doubts_.clear(); }
    // What a shared store had, of an age by that store's clock; in place of what memory had. Not
    // when there is a change since looked_at, before which it was known to be good.
    void take(const digest& key,
              const smtpclient::mailbox& recipient,
              const recipient_tags& tags,
              const record& r,
              milliseconds age,
              bool declared,
              const moment& now,
              change_count looked_at);
    // While it does not hold, what memory has is only good where nothing better can be had. Before
    // the first find(); must outlive the cache.
    void believe(const trust* t) { memory_.believe(t); }
    // Called before each change below, so that nothing older is taken from elsewhere after it; once
    // for many addresses.
    void on_change(std::function<void(const std::vector<change>&)> tell) {
        tell_ = std::move(tell);
    }
    // Called before what is forgotten here or elsewhere goes, with its domain ("": all), for what
    // was found out about it goes as well. One call at a time; {} waits for its end.
    void on_forget(std::function<void(std::string_view domain)> tell);
    // That of all domains, and nothing else: who missed a notice cannot look it up in the store.
    void forget_findings() { tell_of_forgetting({}); }
    // What other edges have changed; tells nobody. All of it before a change that is made here, or
    // all after it, as that change is told: else one of many that are declared here could be known
    // though another edge, and the store, had forgotten it.
    void apply(const std::vector<change>& changes, const moment& now);
    // How long the oldest record can be kept, and how much longer than its life.
    [[nodiscard]] milliseconds longest_life() const;
    [[nodiscard]] milliseconds declared_life() const;
    [[nodiscard]] milliseconds kept_after_life(const smtpclient::verdict& v) const;

    // For the control socket.
    void declare(const smtpclient::mailbox& recipient, const moment& now);
    // The same of many, in one look through what is known.
    void declare(const std::vector<smtpclient::mailbox>& recipients, const moment& now);
    std::size_t forget(const smtpclient::mailbox& recipient);  // how many were in memory
    std::size_t forget_domain(std::string_view lower_case);
    std::size_t forget_all();
    // Of domains whose next hop refuses who exists: what it has refused lately, here or elsewhere.
    std::size_t forget_refusals(const std::set<std::string>& lower_case,
                                milliseconds lately,
                                const moment& now);
    [[nodiscard]] std::vector<known> show(const smtpclient::mailbox& recipient);
    [[nodiscard]] entry_counts count_domain(std::string_view lower_case);  // in memory
    [[nodiscard]] verdicts::store& below() { return *below_; }
    [[nodiscard]] recipient_tags tags(const smtpclient::mailbox& recipient) const {
        return tags_of(recipient, below_->seed());
    }
    [[nodiscard]] entry_counts size() const { return memory_.size(); }
    [[nodiscard]] std::uint64_t evictions() const { return memory_.evictions(); }

    void use(const cache_settings& settings) {
        memory_.use(settings);
        below_->keep(settings.stale, settings.undeliverable_max);
    }
    [[nodiscard]] cache_settings settings() const { return memory_.settings(); }
    void finish(std::chrono::milliseconds at_most) { below_->finish(at_most); }
    // Until what was changed is written; false: it is not by then.
    bool flush(std::chrono::milliseconds at_most) { return below_->flush(at_most); }

private:
    bool restore(const digest& key,
                 const smtpclient::mailbox& recipient,
                 bool declared,
                 const moment& now);
    void put(const kept_entry& kept,
             const recipient_tags& tags,
             const smtpclient::mailbox& recipient,
             const smtpclient::verdict& v,
             const moment& now);
    // Undoes what was entered of what may be older than a change. True: there was none.
    bool still_holds(const smtpclient::mailbox& recipient,
                     change_count since,
                     const kept_entry& entered,
                     bool in_store);

    [[nodiscard]] std::unique_lock<std::mutex> begin_change();
    void tell_of_forgetting(std::string_view domain);
    void declare_here(const std::vector<smtpclient::mailbox>& recipients, const moment& now);
    std::size_t forget_here(const std::vector<smtpclient::mailbox>& recipients);
    std::size_t forget_domains_here(const std::set<std::string>& lower_case);
    void begin_to_forget_all();
    std::size_t forget_all_in_memory();

    // Its seed is asked for each time: it has another one when a slow file has opened at last.
    std::unique_ptr<verdicts::store> below_;
    memory memory_;
    doubts doubts_;
    outages outages_;
    change_counts changes_;
    std::function<void(const std::vector<change>&)> tell_;
    std::mutex changing_mutex_;  // held from the telling of a change to its end
    std::mutex forgetting_mutex_;
    std::function<void(std::string_view)> forgetting_;
};

// Of "lmdb:DIRECTORY"; "" for any other store.
[[nodiscard]] std::string directory_of(const cache_settings& settings);
// "memory" or "lmdb:DIRECTORY": [cache] store.
[[nodiscard]] std::unique_ptr<store> make_store(const cache_settings& settings);

}  // namespace callforward::milter::verdicts
