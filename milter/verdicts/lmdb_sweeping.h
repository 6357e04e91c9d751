// Erasing many records: what has expired, what is oldest, what is to be forgotten.
//
// And reading them, page by page, for who lists what is known.
//
// Looks at all records, in steps, so that no page is kept from being used again for long; each step
// is written by itself. Erasing: on the store's thread.
#pragma once

#include "milter/verdicts/lmdb_file.h"
#include "milter/verdicts/store.h"

#include <chrono>
#include <functional>
#include <optional>
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

// The tenth that was learnt first, about: of what is not deliverable, where that is a fifth or
// more, so that a flood of unknown addresses pushes out no good one.
[[nodiscard]] lmdb_file::result erase_oldest(lmdb_file& file, std::string& why);

// From a key on, without what `skips`; decoded, and so checked. Nothing when it cannot be read.
[[nodiscard]] std::optional<store::page> read_page(
    lmdb_file& file,
    std::string from,
    std::size_t limit,
    const hash_seed& seed,
    const std::function<bool(std::string_view record_bytes)>& skips);

}  // namespace callforward::milter::verdicts
