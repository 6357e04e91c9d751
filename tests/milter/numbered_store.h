// An LMDB store for tests, what it says of itself, and the records of stored_verdicts.h in it.
#pragma once

#include "milter/verdicts/lmdb_store.h"
#include "tests/milter/stored_verdicts.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::tests {

struct said {
    std::mutex mutex;
    std::vector<std::string> lines;

    std::size_t count() {
        const std::lock_guard lock(mutex);
        return lines.size();
    }
};

inline milter::verdicts::lmdb_options options_in(const std::string& directory,
                                                 const std::shared_ptr<said>& log) {
    milter::verdicts::lmdb_options o;
    o.directory = directory;
    o.map_size = std::size_t{64} << 20U;
    o.group_delay = std::chrono::milliseconds(5);
    o.open_within = std::chrono::seconds(20);
    o.say = [log](milter::log_level, std::string_view what, milter::log_fields) {
        const std::lock_guard lock(log->mutex);
        log->lines.emplace_back(what);
    };
    return o;
}

inline void put(milter::verdicts::lmdb_store& s, std::uint64_t n) {
    s.put(key_of_number(n), record_of_number(n));
}

inline bool has(milter::verdicts::lmdb_store& s, std::uint64_t n) {
    const auto found = s.find(key_of_number(n));
    if (found) CHECK(is_record_of(n, *found));
    return found.has_value();
}

}  // namespace callforward::tests
