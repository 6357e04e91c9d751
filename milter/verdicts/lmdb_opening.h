// From a directory to an LMDB file that may be believed: made if missing, looked at, moved aside if
// it is damaged or not ours, emptied if it is of another format.
//
// The database says what it is in one record of its own ("callforward": format and seed), beside
// the records, whose keys are 16 bytes. Runs on the store's thread; takes as long as reading the
// file.
#pragma once

#include "milter/verdicts/digest.h"
#include "milter/verdicts/lmdb_file.h"
#include "milter/verdicts/lmdb_store.h"

#include <memory>
#include <string>
#include <string_view>

namespace callforward::milter::verdicts {

constexpr std::string_view about_key = "callforward";

struct opened_file {
    std::unique_ptr<lmdb_file> file;  // nothing on failure
    hash_seed seed;                   // the database's
    std::string why;                  // on failure
};

// `seed` becomes that of a new database.
[[nodiscard]] opened_file open_lmdb(const lmdb_options& options, const hash_seed& seed);

// So that nobody opens it again; who has it open, closes it afterwards.
[[nodiscard]] bool remove_lmdb(const std::string& directory);

// Writes what the database is; for a new or emptied one.
[[nodiscard]] lmdb_file::result claim_lmdb(lmdb_file& file,
                                           const hash_seed& seed,
                                           std::string& why);

}  // namespace callforward::milter::verdicts
