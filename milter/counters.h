// What the daemon has done since it started, as numbers: verdicts, call-forwards, times.
//
// count() is called once a RCPT, also on the way that must not allocate: relaxed atomics in arrays
// that enums index, nothing else. Readers get numbers that may be a moment apart from each other.
// Times are kept in buckets, so a quantile is as exact as its bucket (duration_bounds). A value
// beyond an array (an enum that has grown) is not counted. Thread: any.
#pragma once

#include "milter/log_line.h"
#include "milter/settings.h"
#include "smtpclient/verdict.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace callforward::milter {

// Upper ends of the buckets, in seconds; one more bucket takes what is longer.
inline constexpr std::array duration_bounds{0.0001,
                                            0.00025,
                                            0.0005,
                                            0.001,
                                            0.0025,
                                            0.005,
                                            0.01,
                                            0.025,
                                            0.05,
                                            0.1,
                                            0.25,
                                            0.5,
                                            1.0,
                                            2.5,
                                            5.0,
                                            10.0,
                                            30.0,
                                            60.0};

inline constexpr std::size_t outcome_count = 3;
inline constexpr std::size_t class_count = 8;
inline constexpr std::size_t reason_count = 64;  // room for those to come
inline constexpr std::size_t stage_count = 24;
inline constexpr std::size_t action_count = 3;
inline constexpr std::size_t source_count = 5;

struct duration_counts {
    std::array<std::uint64_t, duration_bounds.size() + 1> buckets{};
    double sum = 0;                                            // seconds
    double longest = std::numeric_limits<double>::infinity();  // seconds, since the start

    [[nodiscard]] std::uint64_t total() const;
    // In seconds, interpolated within its bucket, and never longer than the longest; 0 when nothing
    // was counted. part: 0 to 1.
    [[nodiscard]] double quantile(double part) const;
    duration_counts& operator-=(const duration_counts& earlier);
};

struct counted {  // the sums that a history keeps
    // [class][source]
    std::array<std::array<std::uint64_t, source_count>, class_count> verdicts{};
    duration_counts answers;  // RCPTs
    duration_counts probes;   // call-forwards

    [[nodiscard]] std::uint64_t of_class(smtpclient::verdict_class c) const;
    [[nodiscard]] std::uint64_t of_source(source s) const;
    [[nodiscard]] std::uint64_t total() const;
    // Of what had to be known or asked: the part that was known. 0 when nothing was.
    [[nodiscard]] double hit_ratio() const;
    counted& operator-=(const counted& earlier);
};

class counters {
public:
    struct rcpt {
        smtpclient::outcome outcome;
        smtpclient::reason reason;
        smtpclient::verdict_class verdict_class;
        milter::action action;
        milter::source source;
        std::chrono::nanoseconds took;
        bool monitored = false;  // mode monitor: the action was not done
    };
    void count(const rcpt& r);
    void count_probe(const smtpclient::verdict& v, std::chrono::nanoseconds took);
    void count_reload(bool good);

    [[nodiscard]] counted now() const;
    [[nodiscard]] std::uint64_t reloads(bool good) const;
    // RCPTs in mode monitor, by the action that was not done.
    [[nodiscard]] std::uint64_t monitored(action a) const;
    // visit(outcome, reason, action, source, number) and visit(stage, outcome, number), for what
    // has been counted at all.
    template <class Visit>
    void for_each_verdict(Visit visit) const;
    template <class Visit>
    void for_each_probe(Visit visit) const;

private:
    using number = std::atomic<std::uint64_t>;
    struct durations {
        std::array<number, duration_bounds.size() + 1> buckets{};
        number microseconds{0};
        number longest{0};  // microseconds

        void add(std::chrono::nanoseconds took);
        [[nodiscard]] duration_counts now() const;
    };

    std::array<number, outcome_count * reason_count * action_count * source_count> verdicts_{};
    std::array<number, class_count * source_count> classes_{};
    std::array<number, action_count> monitored_{};
    std::array<number, stage_count * outcome_count> probes_{};
    durations answer_times_;
    durations probe_times_;
    std::array<number, 2> reloads_{};
};

template <class Visit>
void counters::for_each_verdict(Visit visit) const {
    for (std::size_t i = 0; i < verdicts_.size(); ++i) {
        const std::uint64_t n = verdicts_[i].load(std::memory_order_relaxed);
        if (n == 0) continue;
        const std::size_t by_action = i / source_count;
        const std::size_t by_reason = by_action / action_count;
        visit(static_cast<smtpclient::outcome>(by_reason / reason_count),
              static_cast<smtpclient::reason>(by_reason % reason_count),
              static_cast<action>(by_action % action_count),
              static_cast<source>(i % source_count),
              n);
    }
}

template <class Visit>
void counters::for_each_probe(Visit visit) const {
    for (std::size_t i = 0; i < probes_.size(); ++i) {
        const std::uint64_t n = probes_[i].load(std::memory_order_relaxed);
        if (n == 0) continue;
        visit(static_cast<smtpclient::stage>(i / outcome_count),
              static_cast<smtpclient::outcome>(i % outcome_count),
              n);
    }
}

}  // namespace callforward::milter
