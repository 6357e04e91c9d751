#include "milter/control/history.h"

#include <algorithm>

namespace callforward::milter::control {

using std::chrono::duration_cast;
using std::chrono::seconds;

history::history(const counters& of, clock::time_point start) : of_(of), start_(start) {
    seconds_.push_back({start, {}});
    minutes_.push_back({start, {}});
}

void history::sample(clock::time_point now) {
    const sampled s{now, of_.now()};
    const std::lock_guard lock(mutex_);
    seconds_.push_back(s);
    if (seconds_.size() > seconds_kept) seconds_.pop_front();
    if (now - minutes_.back().at < std::chrono::minutes(1)) return;
    minutes_.push_back(s);
    if (minutes_.size() > minutes_kept) minutes_.pop_front();
}

counted history::within(seconds span, clock::time_point now) const {
    counted counts = of_.now();
    const clock::time_point from = now - span;
    if (from <= start_) return counts;
    const std::lock_guard lock(mutex_);
    // The first sample within the span: a little less than was asked for, never more.
    const auto& samples = from >= seconds_.front().at ? seconds_ : minutes_;
    const auto first = std::find_if(
        samples.begin(), samples.end(), [&](const sampled& s) { return s.at >= from; });
    counts -= first == samples.end() ? samples.back().totals : first->totals;
    return counts;
}

std::vector<history::interval> history::minutes(std::size_t most, clock::time_point now) const {
    const counted current = of_.now();
    const std::lock_guard lock(mutex_);
    std::vector<interval> all;
    const std::size_t first = minutes_.size() > most ? minutes_.size() - most : 0;
    for (std::size_t i = first; i < minutes_.size(); ++i) {
        const bool last = i + 1 == minutes_.size();
        const clock::time_point end = last ? now : minutes_[i + 1].at;
        counted counts = last ? current : minutes_[i + 1].totals;
        counts -= minutes_[i].totals;
        all.push_back({duration_cast<seconds>(now - end),
                       duration_cast<seconds>(end - minutes_[i].at),
                       counts});
    }
    return all;
}

}  // namespace callforward::milter::control
