// Domains that other edges put off, as they have told (interlock.h has our own).
//
// What is told holds for as long as it was told, and is told again before: an edge that dies opens
// by silence. Bounded: beyond 10,000 the next one is not noted. Thread: any; is_closed() takes no
// lock while there is none.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace callforward::milter::fleet {

class foreign_interlocks {
public:
    using time_point = std::chrono::steady_clock::time_point;

    void close(const std::string& domain,
               const std::string& edge,
               time_point now,
               std::chrono::seconds lasting) {
        const std::lock_guard lock(mutex_);
        std::erase_if(told_, [now](const auto& row) { return row.second <= now; });
        const bool room = told_.size() < most || told_.contains({domain, edge});
        if (room) told_.insert_or_assign({domain, edge}, now + lasting);
        count_ = told_.size();
    }
    void open(const std::string& domain, const std::string& edge) {
        const std::lock_guard lock(mutex_);
        told_.erase({domain, edge});
        count_ = told_.size();
    }
    [[nodiscard]] bool is_closed(std::string_view domain, time_point now) const {
        if (count_ == 0) return false;
        const std::lock_guard lock(mutex_);
        auto at = told_.lower_bound({std::string(domain), std::string()});
        while (at != told_.end() && at->first.first == domain) {
            if (at->second > now) return true;
            ++at;
        }
        return false;
    }

private:
    static constexpr std::size_t most = 10'000;

    mutable std::mutex mutex_;
    std::map<std::pair<std::string, std::string>, time_point> told_;
    std::atomic<std::size_t> count_ = 0;
};

}  // namespace callforward::milter::fleet
