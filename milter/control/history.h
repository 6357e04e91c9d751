// The counters of the last minute and of the last hours, by samples: what happened lately is now
// less what was then.
//
// sample() is called about once a second; it keeps one sample a second for two minutes and one a
// minute for three hours, about 130 KiB. A span longer than the program has run, or than is kept,
// is all there is. The clock is an argument. Thread: any.
#pragma once

#include "milter/counters.h"

#include <chrono>
#include <cstddef>
#include <deque>
#include <mutex>
#include <vector>

namespace callforward::milter::control {

class history {
public:
    using clock = std::chrono::steady_clock;
    static constexpr std::size_t seconds_kept = 120;
    static constexpr std::size_t minutes_kept = 180;

    history(const counters& of, clock::time_point start);

    void sample(clock::time_point now);
    // What was counted within the span before now.
    [[nodiscard]] counted within(std::chrono::seconds span, clock::time_point now) const;
    [[nodiscard]] counted since_start() const { return of_.now(); }
    [[nodiscard]] clock::time_point start() const { return start_; }

    struct interval {
        std::chrono::seconds ago;  // its end
        std::chrono::seconds length;
        counted counts;
    };
    // Minute by minute, the oldest first, at most `most`.
    [[nodiscard]] std::vector<interval> minutes(std::size_t most, clock::time_point now) const;

private:
    struct sampled {
        clock::time_point at;
        counted totals;
    };

    const counters& of_;
    const clock::time_point start_;
    mutable std::mutex mutex_;
    std::deque<sampled> seconds_;
    std::deque<sampled> minutes_;
};

}  // namespace callforward::milter::control
