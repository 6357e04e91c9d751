// What is known about recipients: memory first, then the store, which fills memory again.
//
// Memory runs on the monotonic clock, the store on the wall clock; this is where one becomes the
// other. A record from a future that the wall clock has not reached is taken as learnt now and
// written back so, and no record outlives the life that the configuration gives it: a clock that
// steps makes nothing immortal. Answers without a word about the recipient (undetermined, a full
// mailbox) live in memory only. Thread: any.
#pragma once

#include "milter/settings.h"
#include "milter/verdicts/key.h"
#include "milter/verdicts/memory.h"
#include "milter/verdicts/store.h"
#include "smtpclient/mailbox.h"
#include "smtpclient/verdict.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace callforward::milter::verdicts {

struct moment {
    steady_clock::time_point steady;
    wall_time wall;

    [[nodiscard]] static moment now();
};

class cache {
public:
    cache(const cache_settings& settings, std::unique_ptr<store> below);

    [[nodiscard]] question_key key_of(const smtpclient::question& q,
                                      std::string_view fingerprint) const;
    // A hit in memory allocates nothing; a miss is looked for in the store.
    [[nodiscard]] std::optional<known> find(const question_key& key,
                                            const smtpclient::mailbox& recipient,
                                            const moment& now);
    void store(const question_key& key,
               const smtpclient::mailbox& recipient,
               const smtpclient::verdict& v,
               const moment& now);

    // For the control socket.
    void declare(const smtpclient::mailbox& recipient, const moment& now);
    std::size_t forget(const smtpclient::mailbox& recipient);  // how many were in memory
    std::size_t forget_domain(std::string_view lower_case);
    [[nodiscard]] std::vector<known> show(const smtpclient::mailbox& recipient);
    [[nodiscard]] entry_counts size() const { return memory_.size(); }

    void use(const cache_settings& settings) { memory_.use(settings); }
    // Before the process ends.
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

    std::unique_ptr<verdicts::store> below_;
    hash_seed seed_;
    memory memory_;
};

// "memory" or "lmdb:DIRECTORY": [cache] store.
[[nodiscard]] std::unique_ptr<store> make_store(const cache_settings& settings);

}  // namespace callforward::milter::verdicts
