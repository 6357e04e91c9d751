// Erasing many records: what has expired, what is oldest, what is to be forgotten.
//
// Looks at all records, in steps, so that no page is kept from being used again for long; each step
// is written by itself. On the store's thread.
#pragma once

#include "milter/verdicts/lmdb_file.h"

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

namespace callforward::milter::verdicts {

[[nodiscard]] lmdb_file::result erase_where(
    lmdb_file& file,
    const std::function<bool(std::string_view record_bytes)>& condition,
    std::string& why);

// Kept after its life: a deliverable for `stale`, any other for `remembered`. What is no record
// goes, too.
[[nodiscard]] lmdb_file::result erase_expired(lmdb_file& file,
                                              std::chrono::seconds stale,
                                              std::chrono::seconds remembered,
                                              std::string& why);

// The tenth that was learnt first, about.
[[nodiscard]] lmdb_file::result erase_oldest(lmdb_file& file, std::string& why);

}  // namespace callforward::milter::verdicts
