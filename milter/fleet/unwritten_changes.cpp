#include "milter/fleet/unwritten_changes.h"

#include <optional>
#include <set>
#include <utility>

namespace callforward::milter::fleet {

using smtpclient::mailbox;
using verdicts::change;

namespace {

// Nothing: it is of no address, and concerns nobody.
std::optional<std::string> name_of(const change& c) {
    switch (c.what) {
        case change::kind::forget_address:
        case change::kind::declare: {
            const auto recipient = mailbox::parse(c.name);
            return recipient ? std::optional(recipient->key()) : std::nullopt;
        }
        case change::kind::forget_domain:
            return c.name;
        case change::kind::forget_all:
            return std::string();
    }
    return std::nullopt;
}

}  // namespace

void unwritten_changes::put(const std::vector<change>& some) {
    // Event loops wait for the lock, and this takes its time for a long list.
    std::vector<std::optional<std::string>> names;
    names.reserve(some.size());
    for (const change& c : some) names.push_back(name_of(c));
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < some.size(); ++i) {
        const change& c = some[i];
        const auto& name = names[i];
        if (!name) continue;
        if (c.what == change::kind::forget_all) {
            items_.clear();
            numbers_.clear();
        }
        insert(*name, c);
        if (items_.size() > most) merge();
    }
    count_ = items_.size();
}

// Behind all others: what is said last of a name counts.
void unwritten_changes::insert(const std::string& name, change c) {
    const std::uint64_t number = ++last_;
    const auto [at, fresh] = numbers_.try_emplace(name, number);
    if (!fresh) items_.erase(std::exchange(at->second, number));
    items_.emplace(number, item{number, std::move(c)});
}

void unwritten_changes::erase(std::uint64_t number) {
    const auto at = items_.find(number);
    if (at == items_.end()) return;  // there is a newer word on it
    const auto name = name_of(at->second.what);
    if (name) numbers_.erase(*name);
    items_.erase(at);
}

bool unwritten_changes::concerns(const mailbox& recipient) const {
    if (count_ == 0) return false;
    const std::lock_guard lock(mutex_);
    return numbers_.contains({}) || numbers_.contains(recipient.key()) ||
           (recipient.domain() && numbers_.contains(recipient.domain()->name()));
}

std::vector<unwritten_changes::item> unwritten_changes::begin(std::size_t at_most) {
    const std::lock_guard lock(mutex_);
    tried_ = last_;
    std::vector<item> some;
    for (const auto& [number, each] : items_) {
        const bool all = each.what.what == change::kind::forget_all;
        if (some.size() >= at_most || (all && !some.empty())) break;
        some.push_back(each);
        if (all) break;
    }
    return some;
}

void unwritten_changes::told(const std::vector<item>& some) {
    const std::lock_guard lock(mutex_);
    for (const item& each : some) {
        const auto at = items_.find(each.number);
        if (at != items_.end()) at->second.told = true;
    }
}

void unwritten_changes::written(const std::vector<item>& some) {
    {
        const std::lock_guard lock(mutex_);
        for (const item& each : some) erase(each.number);
        count_ = items_.size();
    }
    changed_.notify_all();
}

void unwritten_changes::failed() {
    {
        const std::lock_guard lock(mutex_);
        failed_ = tried_;
        if (items_.size() > most_kept) merge();
    }
    changed_.notify_all();
}

std::size_t unwritten_changes::take_merged() {
    const std::lock_guard lock(mutex_);
    return std::exchange(names_merged_, 0);
}

void unwritten_changes::merge() {
    names_merged_ += items_.size();
    failed_ = merged_ = last_;  // who waits for one of these waits in vain
    std::set<std::string> domains;
    bool all = numbers_.contains({});
    for (const auto& [number, each] : items_) {
        if (each.what.what == change::kind::forget_domain) {
            domains.insert(each.what.name);
        } else if (const auto recipient = mailbox::parse(each.what.name)) {
            all = all || !recipient->domain();
            if (recipient->domain()) domains.insert(recipient->domain()->name());
        }
    }
    items_.clear();
    numbers_.clear();
    all = all || domains.size() > most_kept;
    if (all) insert({}, {change::kind::forget_all, {}});
    for (const std::string& name : domains) {
        if (!all) insert(name, {change::kind::forget_domain, name});
    }
    count_ = items_.size();
}

bool unwritten_changes::wait(std::chrono::milliseconds at_most) const {
    std::unique_lock lock(mutex_);
    const std::uint64_t last = last_;
    const auto is_written = [&] { return items_.empty() || items_.begin()->first > last; };
    changed_.wait_for(lock, at_most, [&] { return closed_ || failed_ >= last || is_written(); });
    return is_written() && (merged_ == 0 || last > merged_);
}

void unwritten_changes::close() {
    {
        const std::lock_guard lock(mutex_);
        closed_ = true;
    }
    changed_.notify_all();
}

}  // namespace callforward::milter::fleet
