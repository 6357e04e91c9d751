// How long memory may be believed where other edges can forget and learn, too.
//
// While their notices arrive, what memory has is good. When they are lost, it stays good for
// `trust` from then on, and what is learnt meanwhile for `trust` from its learning. When they come
// again, what was learnt before may have missed one: it is to be looked up in the shared store,
// each entry at its own time within what was left of `trust`, so that the store is not asked for
// all at once. An answer of a next hop counts as learnt when it was asked for: a notice that came
// while it was awaited may have been of it. Losses with less than `trust` between them count from
// the first of them on: nothing that may have missed a notice is believed for longer because
// another is missed. At the start nothing has arrived yet. Any thread; holds() takes no lock.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>

namespace callforward::milter::verdicts {

class trust {
public:
    using time_point = std::chrono::steady_clock::time_point;
    using duration = time_point::duration;

    trust(duration lasting, time_point now)
        : lasting_(lasting.count()), ended_(count(now)), lost_(count(now)) {}

    void lost(time_point now) {
        // By then all that was learnt before the last return has been looked up, or is not good.
        if (heard_ && count(now) >= since_ + lasting_) {
            good_from_ = since_.load();
            lost_ = count(now);
        }
        if (heard_) ended_ = count(now);
        heard_ = false;
    }
    void regained(time_point now) {
        since_ = count(now);
        heard_ = true;
    }
    [[nodiscard]] bool is_heard() const { return heard_; }
    void use(duration lasting) { lasting_ = lasting.count(); }

    // checked: when the entry was asked for, or last seen in the shared store. spread: of its key.
    [[nodiscard]] bool holds(time_point checked, time_point now, std::uint64_t spread) const {
        const auto learnt = count(checked);
        if (learnt < good_from_) return false;
        const auto since = since_.load();
        const auto until = learnt >= since ? ended_.load() : lost_.load();
        const auto limit = std::max(until, learnt) + lasting_.load();
        if (!heard_) return count(now) < limit;
        if (learnt >= since) return true;
        if (limit <= since) return false;
        const auto part = static_cast<duration::rep>(spread & 1023U);
        return count(now) < since + (limit - since) / 1024 * part;
    }

private:
    static duration::rep count(time_point t) { return t.time_since_epoch().count(); }

    std::atomic<duration::rep> lasting_;
    std::atomic<duration::rep> ended_;  // the last loss
    std::atomic<duration::rep> lost_;   // the first of those that follow each other
    std::atomic<duration::rep> good_from_ = std::numeric_limits<duration::rep>::min();
    std::atomic<duration::rep> since_ = 0;
    std::atomic<bool> heard_ = false;
};

}  // namespace callforward::milter::verdicts
