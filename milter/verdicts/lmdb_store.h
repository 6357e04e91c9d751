// Verdicts in an LMDB database below a directory: [cache] store = "lmdb:DIRECTORY".
//
// Reads go to the memory map of the thread that asks, past any writer. Changes are queued; one
// thread writes them in groups (100 ms or 1000 changes), so that a kill costs the last group and
// nothing else: LMDB never overwrites a page that the last commit leads to, and the commit itself
// is one small write. MDB_NOMETASYNC: the data are synced before the commit that names them, only
// the sync after it is left out; a power cut may cost a group more, never the file. Never
// MDB_WRITEMAP: a stray write of ours, or a full disk under the map, would be in the file. A file
// that is damaged or no database of ours is moved aside (".corrupt-<time>"). What cannot be opened
// or written is said once, tried again every minute, and done without meanwhile; where everything
// is to be forgotten and that cannot be written, or anything until the end, the file is removed, so
// that no restart believes it. Bounded: expired records are swept, and when four fifths of the map
// are used, the oldest tenth goes, of what is not deliverable first; of changes that wait, so many
// are kept whole, and of more only that the file's record is outdated.
#pragma once

#include "milter/log.h"
#include "milter/verdicts/store.h"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace callforward::milter::verdicts {

struct lmdb_options {
    std::string directory;  // made if missing, mode 0750
    std::size_t map_size = std::size_t{1} << 30U;
    std::chrono::seconds stale{7 * 24 * 3600};  // kept so long after its life: a deliverable,
    std::chrono::seconds remembered{7200};      // and any other
    std::size_t group_size = 1000;
    std::size_t queued = 50000;     // changes that wait, while the file cannot be written
    std::size_t outdated = 500000;  // with those that are not kept whole
    std::chrono::milliseconds group_delay{100};
    std::chrono::milliseconds try_again{60000};
    std::chrono::milliseconds between_sweeps{600000};
    std::chrono::milliseconds open_within{900};  // the constructor waits so long for the file
    std::function<void(log_level, std::string_view, log_fields)> say = log::say;
};

class lmdb_store final : public store {
public:
    // Never fails: without a usable directory it is a store that knows nothing.
    explicit lmdb_store(const lmdb_options& options);
    ~lmdb_store() override;  // writes what is queued

    [[nodiscard]] hash_seed seed() const override;
    bool wait_for_opening(std::chrono::milliseconds at_most) override;
    [[nodiscard]] std::optional<record> find(const digest& key) override;
    void put(const digest& key, const record& r) override;
    void erase(const digest& key) override;
    void forget_domain(std::uint32_t tag) override;
    void forget_addresses(tag_set tags) override;
    void forget_refusals(tag_set domain_tags, wall_time since) override;
    bool flush(std::chrono::milliseconds at_most) override;
    void finish(std::chrono::milliseconds at_most) override;
    [[nodiscard]] std::optional<page> list(const std::string& from, std::size_t limit) override;
    bool forget_all() override;
    [[nodiscard]] std::size_t records() const override { return size(); }
    [[nodiscard]] std::string complaint() const override;
    void keep(std::chrono::seconds stale, std::chrono::seconds remembered) override;

    [[nodiscard]] bool is_open() const;
    [[nodiscard]] std::size_t size() const;  // records written; 0 while not open
    void sweep_now();                        // queued

private:
    class implementation;
    std::unique_ptr<implementation> implementation_;
};

}  // namespace callforward::milter::verdicts
