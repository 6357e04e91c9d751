// Room in an LMDB file: what has expired goes, and when four fifths of the map are used, the oldest
// tenth, of what is not deliverable first.
//
// use() by any thread, all else on the store's thread.
#pragma once

#include "milter/verdicts/digest.h"
#include "milter/verdicts/lmdb_file.h"
#include "milter/verdicts/lmdb_store.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>

namespace callforward::milter::verdicts {

class lmdb_room {
public:
    // The options must outlive it.
    explicit lmdb_room(const lmdb_options& options)
        : options_(options), stale_(options.stale), remembered_(options.remembered) {}

    void use(std::chrono::seconds stale, std::chrono::seconds remembered) {
        stale_ = stale;
        remembered_ = remembered;
    }
    // Another file.
    void begin_anew() { room_until_ = 0; }
    [[nodiscard]] lmdb_file::result sweep(lmdb_file& file, std::string& why) const;
    // Before a group is written, or after one for which the file was too full.
    [[nodiscard]] lmdb_file::result make(lmdb_file& file,
                                         bool is_full,
                                         const hash_seed& seed,
                                         std::string& why);

private:
    [[nodiscard]] lmdb_file::result drop_oldest(lmdb_file& file, std::string& why);

    const lmdb_options& options_;
    std::atomic<std::chrono::seconds> stale_;
    std::atomic<std::chrono::seconds> remembered_;
    std::size_t room_until_ = 0;
    bool said_full_ = false;
};

}  // namespace callforward::milter::verdicts
