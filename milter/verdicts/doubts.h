// Refusals that are in doubt (interlock.h): answers for a moment, which are no knowledge and take
// the place of none.
//
// While the directory of a next hop is out it would otherwise be asked about each recipient of each
// message. Kept apart from what is known, by the same keys, each for the lifetime that it was
// given; at most 10,000, beyond which none is added until some are over. Forgotten all at once:
// when a domain's interlock opens, and when anything is forgotten or declared. Thread: any; find()
// takes no lock while there are none.
#pragma once

#include "milter/verdicts/digest.h"
#include "smtpclient/verdict.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace callforward::milter::verdicts {

struct doubt {
    std::shared_ptr<const smtpclient::verdict> verdict;  // nothing: there is none
    bool of_closed_domain = false;  // good only as long as its domain is: then it rejects nobody
};

class doubts {
public:
    using time_point = std::chrono::steady_clock::time_point;

    void add(const digest& key,
             const smtpclient::verdict& v,
             bool of_closed_domain,
             time_point until,
             time_point now);
    [[nodiscard]] doubt find(const digest& key, time_point now) const;
    void clear();

private:
    struct entry {
        doubt what;
        time_point until;
    };
    struct by_first {  // a digest is keyed already
        std::size_t operator()(const digest& d) const { return d.first; }
    };

    mutable std::mutex mutex_;
    std::unordered_map<digest, entry, by_first> all_;
    std::atomic<bool> has_some_ = false;
};

}  // namespace callforward::milter::verdicts
