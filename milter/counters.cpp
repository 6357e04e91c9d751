#include "milter/counters.h"

#include <algorithm>
#include <numeric>

namespace callforward::milter {

namespace {

template <class Enum>
std::size_t index_of(Enum value) {
    return static_cast<std::size_t>(value);
}

void one_more(std::atomic<std::uint64_t>& number) {
    number.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

std::uint64_t duration_counts::total() const {
    return std::accumulate(buckets.begin(), buckets.end(), std::uint64_t{0});
}

double duration_counts::quantile(double part) const {
    const auto all = static_cast<double>(total());
    if (all == 0) return 0;
    const double wanted = std::clamp(part, 0.0, 1.0) * all;
    double before = 0;
    for (std::size_t i = 0; i < buckets.size(); ++i) {
        const auto here = static_cast<double>(buckets[i]);
        if (here > 0 && before + here >= wanted) {
            if (i == duration_bounds.size()) break;
            const double low = i == 0 ? 0 : duration_bounds[i - 1];
            const double within = (duration_bounds[i] - low) * std::max(0.0, wanted - before);
            return std::min(low + within / here, longest);
        }
        before += here;
    }
    return duration_bounds.back();  // longer than that; how long was not kept
}

duration_counts& duration_counts::operator-=(const duration_counts& earlier) {
    for (std::size_t i = 0; i < buckets.size(); ++i) buckets[i] -= earlier.buckets[i];
    sum -= earlier.sum;
    return *this;
}

std::uint64_t counted::of_class(smtpclient::verdict_class c) const {
    const auto& row = verdicts.at(index_of(c));
    return std::accumulate(row.begin(), row.end(), std::uint64_t{0});
}

std::uint64_t counted::of_source(source s) const {
    std::uint64_t sum = 0;
    for (const auto& row : verdicts) sum += row.at(index_of(s));
    return sum;
}

std::uint64_t counted::total() const {
    std::uint64_t sum = 0;
    for (const auto& row : verdicts) sum = std::accumulate(row.begin(), row.end(), sum);
    return sum;
}

double counted::hit_ratio() const {
    const std::uint64_t hits = of_source(source::cache) + of_source(source::stale);
    const std::uint64_t all = hits + of_source(source::probe) + of_source(source::shared);
    return all == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(all);
}

counted& counted::operator-=(const counted& earlier) {
    for (std::size_t c = 0; c < class_count; ++c) {
        for (std::size_t s = 0; s < source_count; ++s) verdicts[c][s] -= earlier.verdicts[c][s];
    }
    answers -= earlier.answers;
    probes -= earlier.probes;
    return *this;
}

void counters::durations::add(std::chrono::nanoseconds took) {
    const double seconds = std::chrono::duration<double>(took).count();
    const auto* const bound =
        std::lower_bound(duration_bounds.begin(), duration_bounds.end(), seconds);
    one_more(buckets[static_cast<std::size_t>(bound - duration_bounds.begin())]);
    const auto whole = std::chrono::duration_cast<std::chrono::microseconds>(took).count();
    const auto counted = static_cast<std::uint64_t>(std::max<std::int64_t>(0, whole));
    microseconds.fetch_add(counted, std::memory_order_relaxed);
    auto known = longest.load(std::memory_order_relaxed);
    while (counted > known &&
           !longest.compare_exchange_weak(known, counted, std::memory_order_relaxed)) {
    }
}

duration_counts counters::durations::now() const {
    duration_counts c;
    for (std::size_t i = 0; i < c.buckets.size(); ++i) {
        c.buckets[i] = buckets[i].load(std::memory_order_relaxed);
    }
    c.sum = static_cast<double>(microseconds.load(std::memory_order_relaxed)) / 1e6;
    c.longest = static_cast<double>(longest.load(std::memory_order_relaxed)) / 1e6;
    return c;
}

void counters::count(const rcpt& r) {
    const std::size_t reason = index_of(r.reason);
    const std::size_t by_class = index_of(r.verdict_class);
    if (reason >= reason_count || by_class >= class_count) return;
    const std::size_t by_reason = index_of(r.outcome) * reason_count + reason;
    const std::size_t by_action = by_reason * action_count + index_of(r.action);
    one_more(verdicts_[by_action * source_count + index_of(r.source)]);
    one_more(classes_[by_class * source_count + index_of(r.source)]);
    if (r.monitored) one_more(monitored_[index_of(r.action)]);
    answer_times_.add(r.took);
}

void counters::count_probe(const smtpclient::verdict& v, std::chrono::nanoseconds took) {
    const std::size_t stage = index_of(v.stage);
    if (stage >= stage_count) return;
    one_more(probes_[stage * outcome_count + index_of(v.outcome())]);
    probe_times_.add(took);
}

void counters::count_reload(bool good) {
    one_more(reloads_[good ? 1 : 0]);
}

std::uint64_t counters::reloads(bool good) const {
    return reloads_[good ? 1 : 0].load(std::memory_order_relaxed);
}

std::uint64_t counters::monitored(action a) const {
    return monitored_[index_of(a)].load(std::memory_order_relaxed);
}

counted counters::now() const {
    counted c;
    for (std::size_t i = 0; i < class_count; ++i) {
        for (std::size_t s = 0; s < source_count; ++s) {
            c.verdicts[i][s] = classes_[i * source_count + s].load(std::memory_order_relaxed);
        }
    }
    c.answers = answer_times_.now();
    c.probes = probe_times_.now();
    return c;
}

}  // namespace callforward::milter
