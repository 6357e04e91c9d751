#include "milter/fleet/unwritten_changes.h"

#include <algorithm>
#include <new>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace callforward::milter::fleet {

using smtpclient::mailbox;
using verdicts::change;

namespace {

// Nothing: it is of no address, and concerns nobody.
std::optional<unwritten_changes::item> item_of(const change& c, unwritten_changes::time_point now) {
    unwritten_changes::item i{0, c, {}, {}, now};
    switch (c.what) {
        case change::kind::forget_address:
        case change::kind::declare: {
            const auto recipient = mailbox::parse(c.name);
            if (!recipient) return std::nullopt;
            i.name = recipient->key();
            if (recipient->domain()) i.domain = recipient->domain()->name();
            return i;
        }
        case change::kind::forget_domain:
            i.name = c.name;
            return i;
        case change::kind::forget_all:
            return i;
    }
    return std::nullopt;
}

}  // namespace

// All or nothing, whatever memory there is. Event loops wait for the lock, and a long list takes
// its time: it is made ready before.
void unwritten_changes::put(const std::vector<change>& some, time_point now) {
    list fresh;
    std::uint64_t number = 0;
    for (const change& c : some) {
        auto i = item_of(c, now);
        if (!i) continue;
        if (c.what == change::kind::forget_all) fresh = {};
        i->number = ++number;
        insert(fresh, std::move(*i));
    }
    const bool all =
        !fresh.items.empty() && fresh.items.begin()->second.what.what == change::kind::forget_all;
    list gone;
    list unmerged;
    if (all) gone.numbers.reserve(fresh.numbers.size());
    const std::lock_guard lock(mutex_);
    if (all) {
        std::swap(list_, gone);
    } else {
        make_room(fresh.numbers.size());
    }
    while (!fresh.items.empty()) append_first_of(fresh);
    count_ = list_.items.size();
    try {
        if (list_.items.size() > most) unmerged = merge();
    } catch (const std::bad_alloc&) {
        // At the next change or failure.
    }
}

// Behind all others: what is said last of a name counts.
void unwritten_changes::insert(list& to, item fresh) {
    const std::uint64_t number = fresh.number;
    const auto [at, first] = to.numbers.try_emplace(fresh.name, number);
    if (!first) to.items.erase(std::exchange(at->second, number));
    to.items.emplace(number, std::move(fresh));
}

// For so many names more, so that append_first_of() needs no memory.
void unwritten_changes::make_room(std::size_t more) {
    auto& names = list_.numbers;
    const std::size_t wanted = names.size() + more;
    const auto room = static_cast<double>(names.bucket_count()) * names.max_load_factor();
    if (static_cast<double>(wanted) > room) names.reserve(2 * wanted);
}

void unwritten_changes::append_first_of(list& fresh) noexcept {
    auto first = fresh.items.extract(fresh.items.begin());
    auto name = fresh.numbers.extract(first.mapped().name);
    const std::uint64_t number = ++last_;
    first.key() = first.mapped().number = name.mapped() = number;
    const auto at = list_.numbers.insert(std::move(name));
    if (!at.inserted) list_.items.erase(std::exchange(at.position->second, number));
    list_.items.insert(list_.items.end(), std::move(first));
}

void unwritten_changes::erase(std::uint64_t number) {
    const auto at = list_.items.find(number);
    if (at == list_.items.end()) return;  // there is a newer word on it
    list_.numbers.erase(at->second.name);
    list_.items.erase(at);
}

void unwritten_changes::outdate(const change& by) {
    if (count_ == 0) return;
    const auto newer = item_of(by, {});
    if (!newer) return;
    const std::lock_guard lock(mutex_);
    if (by.what == change::kind::forget_address) {
        const auto at = list_.numbers.find(newer->name);
        if (at != list_.numbers.end()) forget_instead(list_.items.find(at->second));
        return;
    }
    const std::uint64_t last = last_;
    for (auto at = list_.items.begin(); at != list_.items.end() && at->first <= last;) {
        const auto each = at++;
        const bool all = by.what == change::kind::forget_all;
        if (all || each->second.domain == newer->name) forget_instead(each);
    }
}

// Under another number: who writes it as declared just now is not to take it for written.
void unwritten_changes::forget_instead(std::map<std::uint64_t, item>::iterator declared) noexcept {
    if (declared->second.what.what != change::kind::declare) return;
    auto node = list_.items.extract(declared);
    item& each = node.mapped();
    each.what.what = change::kind::forget_address;
    each.told = false;
    each.number = node.key() = list_.numbers.find(each.name)->second = ++last_;
    list_.items.insert(list_.items.end(), std::move(node));
}

const unwritten_changes::item* unwritten_changes::last_word_on(const mailbox& recipient) const {
    std::uint64_t newest = 0;
    const auto look_at = [&](const std::string& name) {
        const auto at = list_.numbers.find(name);
        if (at != list_.numbers.end()) newest = std::max(newest, at->second);
    };
    look_at({});
    look_at(recipient.key());
    if (recipient.domain()) look_at(recipient.domain()->name());
    return newest == 0 ? nullptr : &list_.items.at(newest);
}

bool unwritten_changes::concerns(const mailbox& recipient) const {
    if (count_ == 0) return false;
    const std::lock_guard lock(mutex_);
    return last_word_on(recipient) != nullptr;
}

bool unwritten_changes::forgets(const mailbox& recipient) const {
    if (count_ == 0) return false;
    const std::lock_guard lock(mutex_);
    const item* const last = last_word_on(recipient);
    return last != nullptr && last->what.what != change::kind::declare;
}

std::vector<unwritten_changes::item> unwritten_changes::begin(std::size_t at_most, time_point now) {
    const std::lock_guard lock(mutex_);
    tried_ = last_;
    std::vector<item> some;
    for (auto& [number, each] : list_.items) {
        const bool all = each.what.what == change::kind::forget_all;
        if (some.size() >= at_most || (all && !some.empty())) break;
        // One that only waits for its turn, in a long list, has more time.
        const auto within = failed_ >= number ? declared_within : longest_turn;
        if (each.what.what == change::kind::declare && now - each.since >= within) {
            each.what.what = change::kind::forget_address;
            ++outdated_;
        }
        some.push_back(each);
        if (all) break;
    }
    return some;
}

void unwritten_changes::told(const std::vector<item>& some) {
    const std::lock_guard lock(mutex_);
    for (const item& each : some) {
        const auto at = list_.items.find(each.number);
        if (at != list_.items.end()) at->second.told = true;
    }
}

void unwritten_changes::written(const std::vector<item>& some) {
    {
        const std::lock_guard lock(mutex_);
        for (const item& each : some) erase(each.number);
        failing_since_.reset();
        count_ = list_.items.size();
    }
    changed_.notify_all();
}

void unwritten_changes::failed(time_point now) {
    list gone;
    {
        const std::lock_guard lock(mutex_);
        failed_ = tried_;
        if (!failing_since_) failing_since_ = now;
        const bool lasts = now - *failing_since_ >= lasting;
        if (lasts && list_.items.size() > most_kept) gone = merge();
    }
    changed_.notify_all();
}

std::size_t unwritten_changes::take_merged() {
    const std::lock_guard lock(mutex_);
    return std::exchange(names_merged_, 0);
}

std::size_t unwritten_changes::take_outdated() {
    const std::lock_guard lock(mutex_);
    return std::exchange(outdated_, 0);
}

unwritten_changes::list unwritten_changes::merge() {
    const std::uint64_t last = last_;
    bool all = false;
    std::unordered_set<std::string_view> domains;
    std::vector<std::string_view> in_order;
    for (const auto& [number, each] : list_.items) {
        const bool whole = each.what.what == change::kind::forget_domain;
        const std::string_view domain = whole ? each.name : each.domain;
        if (!domains.insert(domain).second) continue;
        in_order.push_back(domain);
        all = domain.empty() || domains.size() > most_kept;
        if (all) break;
    }
    if (all) in_order = {""};
    list merged;
    for (const std::string_view each : in_order) {
        const auto what = all ? change::kind::forget_all : change::kind::forget_domain;
        const std::string name(each);
        insert(merged, {++last_, {what, name}, name, {}, {}});
    }
    // Nothing of it before here: without memory for that nothing is to be lost.
    names_merged_ += list_.items.size();
    domains_merged_ = all ? 0 : merged.items.size();
    failed_ = merged_ = last;  // who waits for one of these waits in vain
    count_ = merged.items.size();
    return std::exchange(list_, std::move(merged));
}

std::uint64_t unwritten_changes::newest() const {
    const std::lock_guard lock(mutex_);
    return last_;
}

unwritten_changes::standing unwritten_changes::wait(std::uint64_t after,
                                                    std::chrono::milliseconds at_most) const {
    std::unique_lock lock(mutex_);
    const std::uint64_t last = last_;
    const auto all_written = [&] {
        return list_.items.empty() || list_.items.begin()->first > last;
    };
    changed_.wait_for(lock, at_most, [&] { return closed_ || failed_ >= last || all_written(); });
    standing now;
    if (merged_ > after) now.merged = domains_merged_;
    now.written = all_written() && !now.merged;
    return now;
}

std::size_t unwritten_changes::wait_until_empty(std::chrono::milliseconds at_most) const {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, at_most, [&] { return closed_ || list_.items.empty(); });
    return list_.items.size();
}

void unwritten_changes::close() {
    {
        const std::lock_guard lock(mutex_);
        closed_ = true;
    }
    changed_.notify_all();
}

}  // namespace callforward::milter::fleet
