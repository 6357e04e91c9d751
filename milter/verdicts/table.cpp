#include "milter/verdicts/table.h"

#include <utility>

namespace callforward::milter::verdicts {

table::table(std::size_t deliverable, std::size_t others)
    : deliverable_capacity_(deliverable), other_capacity_(others), index_(16, none) {}

entry& table::at(std::uint32_t number) {
    return (*blocks_[(number - 1) / block_size])[(number - 1) % block_size];
}

// Where the key is, or the free place where it would be. The digest is as good as random.
std::size_t table::place_of(const digest& key) const {
    const std::size_t mask = index_.size() - 1;
    auto* const self = const_cast<table*>(this);
    for (std::size_t place = key.first & mask;; place = (place + 1) & mask) {
        const std::uint32_t number = index_[place];
        if (number == none || self->at(number).key == key) return place;
    }
}

std::uint32_t table::number_of(const digest& key) const {
    return index_[place_of(key)];
}

entry* table::find(const digest& key) {
    const std::uint32_t number = number_of(key);
    return number == none ? nullptr : &at(number);
}

std::size_t table::deliverable() const {
    return lists_[probation].length + lists_[protected_from_flood].length;
}

void table::link(std::uint32_t number, list_name to) {
    list& l = lists_[to];
    entry& e = at(number);
    e.in_list = to;
    e.newer = none;
    e.older = l.newest;
    if (l.newest != none) at(l.newest).newer = number;
    l.newest = number;
    if (l.oldest == none) l.oldest = number;
    ++l.length;
}

void table::unlink(entry& e) {
    list& l = lists_[e.in_list];
    if (e.newer != none) {
        at(e.newer).older = e.older;
    } else {
        l.newest = e.older;
    }
    if (e.older != none) {
        at(e.older).newer = e.newer;
    } else {
        l.oldest = e.newer;
    }
    --l.length;
}

void table::use(std::uint32_t number) {
    entry& e = at(number);
    const auto from = static_cast<list_name>(e.in_list);
    unlink(e);
    link(number, from == other ? other : protected_from_flood);
    const std::size_t most_protected = deliverable_capacity_ - deliverable_capacity_ / 5;
    if (lists_[protected_from_flood].length <= most_protected) return;
    const std::uint32_t demoted = lists_[protected_from_flood].oldest;
    unlink(at(demoted));
    link(demoted, probation);
}

void table::make_room(bool deliverable) {
    if (!deliverable) {
        if (lists_[other].length < other_capacity_) return;
        ++evictions_;
        erase(at(lists_[other].oldest));
        return;
    }
    if (this->deliverable() < deliverable_capacity_) return;
    const list& from = lists_[lists_[probation].length > 0 ? probation : protected_from_flood];
    ++evictions_;
    erase(at(from.oldest));
}

entry* table::insert(entry&& fresh) {
    const bool deliverable = fresh.is_deliverable();
    if ((deliverable ? deliverable_capacity_ : other_capacity_) == 0) return nullptr;
    make_room(deliverable);
    if ((count_ + 1) * 4 > index_.size() * 3) grow_index();
    const std::uint32_t number = take_number();
    entry& e = at(number);
    e = std::move(fresh);
    index_[place_of(e.key)] = number;
    link(number, deliverable ? probation : other);
    ++count_;
    if (e.verdict->outcome() == smtpclient::outcome::undeliverable) ++undeliverable_;
    return &e;
}

std::uint32_t table::take_number() {
    if (free_ != none) return std::exchange(free_, at(free_).older);
    if (used_numbers_ % block_size == 0) blocks_.push_back(std::make_unique<block>());
    return ++used_numbers_;
}

void table::grow_index() {
    std::vector<std::uint32_t> old(index_.size() * 2, none);
    old.swap(index_);
    for (const std::uint32_t number : old) {
        if (number != none) index_[place_of(at(number).key)] = number;
    }
}

void table::erase(entry& e) {
    const std::size_t place = place_of(e.key);
    const std::uint32_t number = index_[place];
    if (e.verdict->outcome() == smtpclient::outcome::undeliverable) --undeliverable_;
    unlink(e);
    remove_from_index(place);
    e = entry{};
    e.older = free_;
    free_ = number;
    --count_;
}

// Closes the gap: whatever stands behind it and could stand in it is moved, so that no marks of
// what was erased are needed.
void table::remove_from_index(std::size_t place) {
    const std::size_t mask = index_.size() - 1;
    std::size_t gap = place;
    for (std::size_t next = (gap + 1) & mask; index_[next] != none; next = (next + 1) & mask) {
        const std::size_t wanted = at(index_[next]).key.first & mask;
        const bool must_stay = ((next - wanted) & mask) < ((next - gap) & mask);
        if (must_stay) continue;
        index_[gap] = index_[next];
        gap = next;
    }
    index_[gap] = none;
}

void table::clear() {
    blocks_.clear();
    index_.assign(16, none);
    lists_ = {};
    free_ = none;
    used_numbers_ = 0;
    count_ = 0;
    undeliverable_ = 0;
}

}  // namespace callforward::milter::verdicts
