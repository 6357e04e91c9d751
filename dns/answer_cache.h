// Answers kept for their TTL, by name: least recently used out first. Pure: the clock is an
// argument.
//
// What was found is kept for at most a day, an absence for at most an hour; `unavailable` and TTL 0
// never. An answer given back carries what is left of its TTL. The capacity is in answers; one with
// many records, or long ones, counts for several, so that a hostile zone cannot fill the memory.
// Not for more than one thread at a time.
#pragma once

#include "dns/answer.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <list>
#include <optional>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>

namespace callforward::dns {

template <class Record>
class answer_cache {
public:
    using time_point = std::chrono::steady_clock::time_point;

    static constexpr std::chrono::seconds longest_found = std::chrono::hours(24);
    static constexpr std::chrono::seconds longest_absent = std::chrono::hours(1);
    static constexpr std::size_t records_per_answer = 8;
    static constexpr std::size_t octets_per_answer = 512;

    explicit answer_cache(std::size_t capacity) : capacity_(capacity) {}

    [[nodiscard]] std::optional<answer<Record>> find(const std::string& name, time_point now) {
        const auto at = by_name_.find(name);
        if (at == by_name_.end()) return std::nullopt;
        const auto kept = at->second;
        // Rounded up: what is given back has a TTL, and lives as long as it was meant to.
        const auto left = std::chrono::ceil<std::chrono::seconds>(kept->until - now);
        if (left.count() <= 0) {
            drop(kept);
            return std::nullopt;
        }
        by_use_.splice(by_use_.begin(), by_use_, kept);
        answer<Record> found = kept->what;
        found.ttl = left;
        return found;
    }

    void keep(const std::string& name, const answer<Record>& what, time_point now) {
        if (const auto at = by_name_.find(name); at != by_name_.end()) drop(at->second);
        const std::chrono::seconds life = lifetime(what);
        const std::size_t cost = cost_of(what);
        if (life.count() <= 0 || cost > capacity_) return;
        while (used_ + cost > capacity_) drop(std::prev(by_use_.end()));
        by_use_.push_front({name, what, now + life});
        try {
            by_name_.emplace(name, by_use_.begin());
        } catch (...) {
            by_use_.pop_front();
            throw;
        }
        used_ += cost;
    }

    [[nodiscard]] std::size_t size() const { return by_name_.size(); }

private:
    struct entry {
        std::string name;
        answer<Record> what;
        time_point until;
    };
    using position = typename std::list<entry>::iterator;

    [[nodiscard]] static std::chrono::seconds lifetime(const answer<Record>& what) {
        switch (what.status) {
            case status::found:
                return std::min(what.ttl, longest_found);
            case status::no_data:
            case status::no_such_name:
                return std::min(what.ttl, longest_absent);
            case status::unavailable:
                break;
        }
        return std::chrono::seconds(0);
    }

    [[nodiscard]] static std::size_t cost_of(const answer<Record>& what) {
        std::size_t octets = 0;
        for (const Record& each : what.records) octets += octets_of(each);
        return 1 + what.records.size() / records_per_answer + octets / octets_per_answer;
    }

    // Of what has no bound of its own: names and addresses have.
    [[nodiscard]] static std::size_t octets_of(const Record& each) {
        if constexpr (std::is_same_v<Record, std::string>) return each.size();
        if constexpr (std::is_same_v<Record, tlsa>) return each.data.size();
        return 0;
    }

    void drop(position kept) {
        used_ -= cost_of(kept->what);
        by_name_.erase(kept->name);
        by_use_.erase(kept);
    }

    std::size_t capacity_;
    std::size_t used_ = 0;
    std::list<entry> by_use_;  // last used first
    std::unordered_map<std::string, position> by_name_;
};

}  // namespace callforward::dns
