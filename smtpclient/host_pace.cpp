// How many recipients a host is asked about at once, as its answers teach.
#include "smtpclient/host.h"

#include <algorithm>

namespace callforward::smtpclient {

namespace {

using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto least_stall = 500ms;
constexpr auto most_stall = 1s;
constexpr double smoothing = 0.2;
constexpr double forgotten = 0.995;      // of the gap, with each answer that tells nothing about it
constexpr double trust_regained = 0.25;  // errands in flight, with each answer

void smooth(double& average, double sample) {
    average = average == 0 ? sample : average + smoothing * (sample - average);
}

}  // namespace

std::size_t host::window() const {
    if (!habits_->is_in_step()) return 1;
    const auto most = static_cast<std::size_t>(most_in_flight_);
    if (ahead_ == 0) return std::min(errands_at_first, most);
    const double each = gap();
    if (each * most_in_flight <= latency_) return most;
    // As many as cost the last of them no more than half as long again.
    return std::clamp<std::size_t>(1 + static_cast<std::size_t>(latency_ / (2 * each)), 1, most);
}

// How many will be carried when the sessions that there are were seen to be in step.
std::size_t host::soon() const {
    std::size_t all = 0;
    if (habits_->is_in_step()) return all;
    for (const auto& c : carriers_) all += c->soon(errands_at_first);
    return all;
}

std::size_t host::stalled() const {
    const auto since = stalled_since();
    return static_cast<std::size_t>(std::count_if(
        carriers_.begin(), carriers_.end(), [&](const auto& c) { return c->is_stalled(since); }));
}

// Whose answer has been due since then is not waited for by others.
steady_time host::stalled_since() const {
    const auto usual =
        std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(8 * latency_));
    return clock::now() - std::clamp<clock::duration>(usual, least_stall, most_stall);
}

void host::ask_for_less() {
    const auto now = clock::now();
    if (now - shrunk_at_ < 1s) return;  // one event, many replies
    shrunk_at_ = now;
    most_sessions_ = std::max<std::size_t>(1, std::min(most_sessions_, carriers_.size()) / 2);
}

void host::note_pace(std::chrono::nanoseconds latency, std::size_t ahead) {
    most_in_flight_ = std::min<double>(most_in_flight, most_in_flight_ + trust_regained);
    const double took = std::chrono::duration<double>(latency).count();
    // One recipient that takes seconds says little about the others.
    if (ahead == 0) {
        smooth(latency_, latency_ == 0 ? took : std::min(took, std::max(4 * latency_, 0.01)));
        kept_ *= forgotten;
        return;
    }
    if (latency_ == 0) latency_ = took;
    const auto others = static_cast<double>(ahead);
    const double most = others * std::max(4 * gap(), latency_ / 2);
    // Less than nothing counts, too: chance gives as much of it as it takes.
    const double kept = std::min(took - latency_, most);
    smooth(kept_, kept);
    smooth(ahead_, others);
}

// Seconds that one recipient is kept waiting by each that is ahead of it.
double host::gap() const {
    return ahead_ == 0 ? 0 : std::max(kept_ / ahead_, 0.0);
}

void host::note_outcome(bool refused) {
    refusals_ += smoothing * ((refused ? 1.0 : 0.0) - refusals_);
}

}  // namespace callforward::smtpclient
