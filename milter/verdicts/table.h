// One shard of the memory: entries by digest, with hard capacities and an order of eviction.
//
// Entries lie in blocks that do not move and are found through an open-addressed index of 32-bit
// numbers: about 130 bytes for an entry, all counted. Deliverable entries and all others have
// capacities of their own. Among the deliverable, one that was never asked for again is on
// probation and goes first; what has been used is protected, up to four fifths of the capacity: a
// flood of addresses that a careless host accepts pushes out only its own kind. Among the others
// the least recently used goes first. Not for several threads at once.
#pragma once

#include "milter/verdicts/digest.h"
#include "milter/verdicts/key.h"
#include "smtpclient/verdict.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace callforward::milter::verdicts {

using std::chrono::steady_clock;

struct entry {
    digest key;
    // Shared with all entries that have the same verdict, and with readers: nothing of it changes.
    std::shared_ptr<const smtpclient::verdict> verdict;
    std::shared_ptr<const std::string> text;  // of the reply, its lines joined by LF; may be null
    steady_clock::time_point learnt;
    steady_clock::time_point expires;
    steady_clock::time_point refresh_at;
    steady_clock::time_point checked;  // asked for, or seen in a shared store: see trust.h
    std::uint64_t address_tag = 0;     // recipient_tags, without its padding
    std::uint32_t domain_tag = 0;
    std::uint8_t repeats = 0;
    bool declared = false;
    bool refused = false;  // since, in doubt: see memory.h

    // The table's own.
    std::uint8_t in_list = 0;
    std::uint32_t newer = 0;
    std::uint32_t older = 0;

    void set_tags(const recipient_tags& tags) {
        address_tag = tags.address;
        domain_tag = tags.domain;
    }
    [[nodiscard]] bool is_deliverable() const {
        return verdict->outcome() == smtpclient::outcome::deliverable;
    }
};

class table {
public:
    table(std::size_t deliverable, std::size_t others);

    static constexpr std::uint32_t none = 0;  // numbers begin with 1

    // These three are valid until the next insert() or erase().
    [[nodiscard]] entry* find(const digest& key);
    [[nodiscard]] std::uint32_t number_of(const digest& key) const;  // or none
    [[nodiscard]] entry& at(std::uint32_t number);
    void use(std::uint32_t number);  // was asked for
    // The key must not be there. Nothing when the capacity is 0.
    entry* insert(entry&& fresh);
    void erase(entry& e);
    void clear();

    template <class Visit>
    void for_each(Visit visit) {
        for (const std::uint32_t number : index_) {
            if (number != none) visit(at(number));
        }
    }
    [[nodiscard]] std::size_t deliverable() const;
    [[nodiscard]] std::uint64_t evictions() const { return evictions_; }
    [[nodiscard]] std::size_t undeliverable() const { return undeliverable_; }
    [[nodiscard]] std::size_t others() const { return lists_[other].length; }

private:
    static constexpr std::size_t block_size = 64;
    enum list_name : std::uint8_t { probation, protected_from_flood, other };
    struct list {
        std::uint32_t newest = none;
        std::uint32_t oldest = none;
        std::size_t length = 0;
    };
    using block = std::array<entry, block_size>;

    [[nodiscard]] std::size_t place_of(const digest& key) const;  // in the index
    void link(std::uint32_t number, list_name to);
    void unlink(entry& e);
    void make_room(bool deliverable);
    void grow_index();
    void remove_from_index(std::size_t place);
    [[nodiscard]] std::uint32_t take_number();

    std::size_t deliverable_capacity_;
    std::size_t other_capacity_;
    std::vector<std::unique_ptr<block>> blocks_;
    std::vector<std::uint32_t> index_;  // a power of two, at most three quarters full
    std::array<list, 3> lists_{};
    std::uint32_t free_ = none;  // linked by `older`
    std::uint32_t used_numbers_ = 0;
    std::size_t count_ = 0;
    std::size_t undeliverable_ = 0;
    std::uint64_t evictions_ = 0;
};

}  // namespace callforward::milter::verdicts
