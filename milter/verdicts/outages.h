// When the next hop of a domain may have refused who exists, because its directory was out
// (interlock.h): what a shared store has of such refusals is not taken.
//
// One span of time for each domain, from the first outage to the last, for as long as a refusal can
// be kept; at most 10,000 domains, beyond which none is noted until some are over. Thread: any;
// cover() takes no lock while there are none.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>

namespace callforward::milter::verdicts {

class outages {
public:
    using time_point = std::chrono::steady_clock::time_point;

    // kept: how long a refusal can be. domain: recipient_tags::domain.
    void add(std::uint32_t domain,
             time_point from,
             time_point to,
             std::chrono::steady_clock::duration kept) {
        const std::lock_guard lock(mutex_);
        std::erase_if(all_, [&](const auto& each) { return each.second.over <= to; });
        if (all_.size() < most || all_.contains(domain)) {
            span& its = all_.try_emplace(domain, span{from, to, to + kept}).first->second;
            its = {std::min(its.from, from), to, to + kept};
        }
        has_some_ = !all_.empty();
    }
    [[nodiscard]] bool cover(std::uint32_t domain, time_point refused) const {
        if (!has_some_) return false;
        const std::lock_guard lock(mutex_);
        const auto its = all_.find(domain);
        return its != all_.end() && its->second.from <= refused && refused <= its->second.to;
    }

private:
    static constexpr std::size_t most = 10'000;
    struct span {
        time_point from;
        time_point to;
        time_point over;
    };

    mutable std::mutex mutex_;
    std::unordered_map<std::uint32_t, span> all_;
    std::atomic<bool> has_some_ = false;
};

}  // namespace callforward::milter::verdicts
