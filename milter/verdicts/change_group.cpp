#include "milter/verdicts/change_group.h"

#include <algorithm>
#include <iterator>
#include <new>
#include <utility>

namespace callforward::milter::verdicts {

namespace {

constexpr std::size_t most_forgotten = 10000;

}  // namespace

bool forgetting::concerns(std::string_view record_bytes) const {
    const auto head = head_of(record_bytes);
    if (!head) return false;
    switch (kind) {
        case what::addresses:
            return tags.contains(head->tags.address);
        case what::domain:
            return tags.contains(head->tags.domain);
        case what::refusals:
            return !head->deliverable && head->learnt >= since && tags.contains(head->tags.domain);
        case what::everything:
            return true;
    }
    return false;
}

bool change_group::forgets(std::string_view record_bytes) const {
    return std::any_of(forgotten.begin(), forgotten.end(), [&](const forgetting& f) {
        return f.concerns(record_bytes);
    });
}

void change_group::put(std::string name, std::string bytes, std::size_t whole, std::size_t most) {
    const auto known = changes.find(name);
    if (changes.size() >= whole && (known == changes.end() || known->second.empty())) {
        if (known == changes.end() && changes.size() >= most) return;
        bytes.clear();
    }
    changes.insert_or_assign(std::move(name), std::move(bytes));
}

bool change_group::lose_names() {
    const bool forgets_some = !forgotten.empty();
    *this = {};
    if (forgets_some) forget({forgetting::what::everything, {}});
    return forgets_some;
}

void change_group::forget(const forgetting& what) {
    if (forgotten.size() >= most_forgotten) {  // then all of it is
        forgotten.clear();
        forget({forgetting::what::everything, {}});
        return;
    }
    std::erase_if(changes, [&](const auto& row) { return what.concerns(row.second); });
    forgotten.push_back(what);
}

void change_group::give_to(change_group& later) {
    std::erase_if(changes, [&](const auto& row) { return later.forgets(row.second); });
    give_forgotten_to(later);
    later.changes.merge(changes);  // what is there already is newer
    *this = {};
}

bool change_group::forgets_everything() const {
    return std::any_of(forgotten.begin(), forgotten.end(), [](const forgetting& f) {
        return f.kind == forgetting::what::everything;
    });
}

// Where there is no memory for both, everything is forgotten: what holds that is there already.
void change_group::give_forgotten_to(change_group& later) {
    if (later.forgotten.empty()) {
        later.forgotten.swap(forgotten);
        return;
    }
    try {
        later.forgotten.insert(later.forgotten.begin(),
                               std::make_move_iterator(forgotten.begin()),
                               std::make_move_iterator(forgotten.end()));
    } catch (const std::bad_alloc&) {
        later.forgotten.clear();
        later.forgotten.push_back({forgetting::what::everything, {}});
    }
    forgotten.clear();
}

std::optional<std::string> change_groups::find(const std::string& name) const {
    const auto row = waiting.changes.find(name);
    if (row != waiting.changes.end()) return row->second;
    const auto old = writing.changes.find(name);
    if (old == writing.changes.end()) return std::nullopt;
    return waiting.forgets(old->second) ? std::string() : old->second;
}

void change_groups::begin() {
    std::swap(waiting, writing);
    ++begun;
}

void change_groups::finish(bool done) {
    try {
        if (!done) writing.give_to(waiting);
    } catch (const std::bad_alloc&) {  // some verdicts are lost, as by a kill
    }
    writing = {};
    finished = begun;
}

}  // namespace callforward::milter::verdicts
