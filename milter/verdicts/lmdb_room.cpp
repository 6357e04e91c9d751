#include "milter/verdicts/lmdb_room.h"

#include "milter/verdicts/lmdb_opening.h"
#include "milter/verdicts/lmdb_sweeping.h"

#include <algorithm>
#include <utility>

namespace callforward::milter::verdicts {

namespace {

using result = lmdb_file::result;

constexpr double nearly_full = 0.8;  // erasing needs pages, too

}  // namespace

result lmdb_room::sweep(lmdb_file& file, std::string& why) const {
    return erase_expired(file, stale_, remembered_, why);
}

// Erasing frees few pages, but room in all of them: until as many entries are there again, nothing
// more has to go.
result lmdb_room::make(lmdb_file& file, bool is_full, const hash_seed& seed, std::string& why) {
    const std::size_t entries = file.entries();
    if (!is_full && (file.used() < nearly_full || entries < room_until_)) return result::done;
    result r = sweep(file, why);
    if (r == result::done && file.entries() > entries - entries / 10) r = drop_oldest(file, why);
    // Pages get emptier as records come and go; where that eats up the reserve, fewer stay.
    const std::size_t left = file.entries();
    room_until_ = file.used() > 0.9 ? left + (entries - std::min(left, entries)) / 2 : entries;
    if (r != result::full) return r;
    // Not even erasing has room: begin anew, but stay ours.
    r = file.erase_all(why);
    return r == result::done ? claim_lmdb(file, seed, why) : r;
}

result lmdb_room::drop_oldest(lmdb_file& file, std::string& why) {
    if (!std::exchange(said_full_, true)) {
        options_.say(log_level::warning,
                     "the cache on disk is full; what is oldest is dropped",
                     {{"directory", options_.directory}});
    }
    return erase_oldest(file, why);
}

}  // namespace callforward::milter::verdicts
