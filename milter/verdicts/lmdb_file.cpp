#include "milter/verdicts/lmdb_file.h"

#include <lmdb.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace callforward::milter::verdicts {

namespace {

constexpr unsigned most_readers = 1024;
constexpr std::size_t most_idle = 64;
constexpr std::size_t usual_page = 4096;
constexpr std::size_t most_in_step = 5000;
constexpr mdb_mode_t file_mode = 0640;

// liblmdb takes what it does not change without const.
MDB_val value_of(std::string_view bytes) {
    return {bytes.size(), const_cast<char*>(bytes.data())};
}

std::string_view bytes_of(const MDB_val& value) {
    return {static_cast<const char*>(value.mv_data), value.mv_size};
}

lmdb_file::result result_of(int error, std::string& why) {
    if (error == MDB_SUCCESS) return lmdb_file::result::done;
    why = mdb_strerror(error);
    switch (error) {
        case MDB_MAP_FULL:
        case MDB_TXN_FULL:
            return lmdb_file::result::full;
        case MDB_PAGE_NOTFOUND:
        case MDB_CORRUPTED:
        case MDB_PANIC:
        case MDB_INVALID:
        case MDB_BAD_TXN:
            return lmdb_file::result::damaged;
        default:
            return lmdb_file::result::failed;
    }
}

}  // namespace

// One read transaction. Whatever ends the reading, want of memory too, it must end: the pages that
// it sees are kept from being used again.
class lmdb_file::reading {
public:
    explicit reading(lmdb_file& file) : file_(file), error_(file.begin_read(transaction_)) {}
    ~reading() {
        if (cursor_ != nullptr) mdb_cursor_close(cursor_);
        if (transaction_ != nullptr) file_.end_read(transaction_);
    }
    reading(const reading&) = delete;
    reading& operator=(const reading&) = delete;

    [[nodiscard]] std::optional<std::string_view> get(std::string_view key) {
        MDB_val wanted = value_of(key);
        MDB_val found{};
        if (error_ != MDB_SUCCESS ||
            mdb_get(transaction_, file_.database_, &wanted, &found) != MDB_SUCCESS) {
            return std::nullopt;
        }
        return bytes_of(found);
    }
    [[nodiscard]] int step(MDB_val& key, MDB_val& value, MDB_cursor_op where) {
        if (error_ == MDB_SUCCESS && cursor_ == nullptr) {
            error_ = mdb_cursor_open(transaction_, file_.database_, &cursor_);
        }
        return error_ == MDB_SUCCESS ? mdb_cursor_get(cursor_, &key, &value, where) : error_;
    }

private:
    lmdb_file& file_;
    MDB_txn* transaction_ = nullptr;
    int error_;
    MDB_cursor* cursor_ = nullptr;
};

std::unique_ptr<lmdb_file> lmdb_file::open(const std::string& directory,
                                           std::size_t map_size,
                                           std::string& why) {
    std::unique_ptr<lmdb_file> file(new lmdb_file);
    file->map_size_ = map_size;
    file->idle_.reserve(most_idle);
    file->step_ = std::clamp<std::size_t>(map_size / usual_page / 40, 16, most_in_step);
    int error = mdb_env_create(&file->environment_);
    if (error == MDB_SUCCESS) error = mdb_env_set_mapsize(file->environment_, map_size);
    if (error == MDB_SUCCESS) error = mdb_env_set_maxreaders(file->environment_, most_readers);
    // NOTLS: a read transaction belongs to nobody, so libmilter's short-lived threads can share
    // them.
    constexpr unsigned flags = MDB_NOMETASYNC | MDB_NOTLS | MDB_NORDAHEAD;
    if (error == MDB_SUCCESS) {
        error = mdb_env_open(file->environment_, directory.c_str(), flags, file_mode);
    }
    // Of processes that were killed while they read: they would keep pages from being used again.
    int dead = 0;
    if (error == MDB_SUCCESS) error = mdb_reader_check(file->environment_, &dead);
    MDB_txn* transaction = nullptr;
    if (error == MDB_SUCCESS) {
        error = mdb_txn_begin(file->environment_, nullptr, MDB_RDONLY, &transaction);
    }
    if (error == MDB_SUCCESS) error = mdb_dbi_open(transaction, nullptr, 0, &file->database_);
    if (transaction != nullptr) mdb_txn_abort(transaction);
    if (error == MDB_SUCCESS) return file;
    why = mdb_strerror(error);
    return nullptr;
}

lmdb_file::~lmdb_file() {
    for (MDB_txn* const transaction : idle_) mdb_txn_abort(transaction);
    if (environment_ != nullptr) mdb_env_close(environment_);
}

int lmdb_file::begin_read(MDB_txn*& transaction) {
    {
        const std::lock_guard lock(mutex_);
        if (!idle_.empty()) {
            transaction = idle_.back();
            idle_.pop_back();
        }
    }
    if (transaction == nullptr) {
        return mdb_txn_begin(environment_, nullptr, MDB_RDONLY, &transaction);
    }
    const int error = mdb_txn_renew(transaction);
    if (error != MDB_SUCCESS) mdb_txn_abort(std::exchange(transaction, nullptr));
    return error;
}

void lmdb_file::end_read(MDB_txn* transaction) {
    mdb_txn_reset(transaction);
    {
        const std::lock_guard lock(mutex_);
        if (idle_.size() < most_idle) {
            idle_.push_back(transaction);
            return;
        }
    }
    mdb_txn_abort(transaction);
}

std::optional<std::string> lmdb_file::get(std::string_view key) {
    reading all(*this);
    const auto bytes = all.get(key);
    return bytes ? std::optional<std::string>(*bytes) : std::nullopt;
}

lmdb_file::result lmdb_file::write(const changes& all, std::string& why) {
    MDB_txn* transaction = nullptr;
    int error = MDB_SUCCESS;
    std::size_t in_step = 0;
    for (auto row = all.begin(); row != all.end() && error == MDB_SUCCESS; ++row) {
        if (in_step == 0) error = mdb_txn_begin(environment_, nullptr, 0, &transaction);
        if (error != MDB_SUCCESS) break;
        MDB_val name = value_of(row->first);
        MDB_val bytes = value_of(row->second);
        if (row->second.empty()) {
            error = mdb_del(transaction, database_, &name, nullptr);
            if (error == MDB_NOTFOUND) error = MDB_SUCCESS;
        } else {
            error = mdb_put(transaction, database_, &name, &bytes, 0);
        }
        if (error != MDB_SUCCESS) {
            mdb_txn_abort(transaction);
        } else if (++in_step == step_ || std::next(row) == all.end()) {
            error = mdb_txn_commit(transaction);
            in_step = 0;
        }
    }
    return result_of(error, why);
}

lmdb_file::result lmdb_file::erase_all(std::string& why) {
    MDB_txn* transaction = nullptr;
    int error = mdb_txn_begin(environment_, nullptr, 0, &transaction);
    if (error != MDB_SUCCESS) return result_of(error, why);
    error = mdb_drop(transaction, database_, 0);
    if (error == MDB_SUCCESS) return result_of(mdb_txn_commit(transaction), why);
    mdb_txn_abort(transaction);
    return result_of(error, why);
}

lmdb_file::result lmdb_file::scan(std::string& from,
                                  std::size_t limit,
                                  const visitor& visit,
                                  std::string& why) {
    reading all(*this);
    MDB_val key = value_of(from);
    MDB_val value{};
    int error = all.step(key, value, from.empty() ? MDB_FIRST : MDB_SET_RANGE);
    for (std::size_t n = 0; error == MDB_SUCCESS && n < limit; ++n) {
        visit(bytes_of(key), bytes_of(value));
        error = all.step(key, value, MDB_NEXT);
    }
    if (error == MDB_SUCCESS) from = bytes_of(key);
    if (error == MDB_NOTFOUND) from.clear();
    return error == MDB_NOTFOUND ? result::done : result_of(error, why);
}

std::size_t lmdb_file::entries() {
    MDB_stat statistics{};
    return mdb_env_stat(environment_, &statistics) == MDB_SUCCESS ? statistics.ms_entries : 0;
}

double lmdb_file::used() {
    MDB_stat s{};
    if (mdb_env_stat(environment_, &s) != MDB_SUCCESS) return 0;
    const std::size_t pages = s.ms_branch_pages + s.ms_leaf_pages + s.ms_overflow_pages;
    return static_cast<double>(pages) * s.ms_psize / static_cast<double>(map_size_);
}

}  // namespace callforward::milter::verdicts
