// Changes to a store that wait to be written, or are being written: what a reader must see before
// the file has it.
//
// Forgetting concerns what is in the file; what was changed in this group before is taken out at
// once, what is changed after it stays. Not for several threads at once.
#pragma once

#include "milter/verdicts/key.h"
#include "milter/verdicts/lmdb_file.h"
#include "milter/verdicts/record.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::milter::verdicts {

struct forgetting {
    enum class what : std::uint8_t { addresses, domain, refusals, everything };

    what kind = what::addresses;
    tag_set tags;          // of refusals: of their domains
    wall_time since = {};  // of refusals

    [[nodiscard]] bool concerns(std::string_view record_bytes) const;
};

struct change_group {
    lmdb_file::changes changes;
    std::vector<forgetting> forgotten;

    [[nodiscard]] bool empty() const { return changes.empty() && forgotten.empty(); }
    [[nodiscard]] bool forgets(std::string_view record_bytes) const;
    // Where `whole` wait already, only that the file's record is outdated; where `most` do,
    // nothing.
    void put(std::string name, std::string bytes, std::size_t whole, std::size_t most);
    // Beyond 10,000 that wait, everything.
    void forget(const forgetting& what);
    // The names are of another seed: nobody can tell any more who was to be forgotten, if anybody
    // was (true); then everybody is.
    bool lose_names();
    [[nodiscard]] bool forgets_everything() const;
    // This group is older than `later`, and has to be written with it after all. Where memory fails
    // in it, what is to be forgotten still is.
    void give_to(change_group& later);

private:
    void give_forgotten_to(change_group& later);
};

// The group that waits and the one that is being written; numbered, so that who waits for one, or
// has looked while there was one, knows whether it is finished.
struct change_groups {
    change_group waiting;
    change_group writing;
    std::size_t begun = 0;
    std::size_t finished = 0;

    // Nothing: no change of this key; empty: it is to be erased.
    [[nodiscard]] std::optional<std::string> find(const std::string& name) const;
    [[nodiscard]] bool forgets(std::string_view record_bytes) const {
        return waiting.forgets(record_bytes) || writing.forgets(record_bytes);
    }
    // With all that waits now.
    [[nodiscard]] std::size_t last() const { return waiting.empty() ? begun : begun + 1; }
    void begin();
    // Not done: what was being written waits again, before what has come since.
    void finish(bool done);
};

}  // namespace callforward::milter::verdicts
