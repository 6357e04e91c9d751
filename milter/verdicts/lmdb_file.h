// An open LMDB environment with one database, as plain calls: keys and values are bytes.
//
// The only user of liblmdb. get() may be called by any thread, at the same time as one thread
// writes and scans; it waits for nobody (a pool of read transactions, renewed, not made). Another
// process may have the same files open. The file must have been looked at before
// (lmdb_file_check.h).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

struct MDB_cursor;
struct MDB_env;
struct MDB_txn;

namespace callforward::milter::verdicts {

class lmdb_file {
public:
    enum class result { done, full, failed, damaged };
    using changes = std::unordered_map<std::string, std::string>;  // an empty value: erased
    using visitor = std::function<void(std::string_view key, std::string_view value)>;

    // Nothing on failure, and why. The directory exists.
    [[nodiscard]] static std::unique_ptr<lmdb_file> open(const std::string& directory,
                                                         std::size_t map_size,
                                                         std::string& why);
    lmdb_file(const lmdb_file&) = delete;
    lmdb_file& operator=(const lmdb_file&) = delete;
    ~lmdb_file();  // when nobody is in a call

    [[nodiscard]] std::optional<std::string> get(std::string_view key);
    // Kept when it returns. Every page that a transaction touches is written anew before the old
    // one is free: a transaction changes no more records than a small part of the map has pages.
    [[nodiscard]] result write(const changes& all, std::string& why);
    [[nodiscard]] result erase_all(std::string& why);
    // At most `limit` entries from `from` on, "" for the first, in order of keys; `from` becomes
    // the next key, or "" at the end.
    [[nodiscard]] result scan(std::string& from,
                              std::size_t limit,
                              const visitor& visit,
                              std::string& why);
    [[nodiscard]] std::size_t entries();
    [[nodiscard]] double used();  // of the map, 0 to 1

private:
    class reading;

    lmdb_file() = default;
    [[nodiscard]] int begin_read(MDB_txn*& transaction);  // an error of liblmdb
    void end_read(MDB_txn* transaction);

    MDB_env* environment_ = nullptr;
    unsigned database_ = 0;
    std::size_t map_size_ = 0;
    std::size_t step_ = 0;
    std::mutex mutex_;
    std::vector<MDB_txn*> idle_;  // reset, to be renewed; has room for all from the start
};

}  // namespace callforward::milter::verdicts
