#include "milter/verdicts/joined_questions.h"

#include <algorithm>
#include <utility>

namespace callforward::milter::verdicts {

std::shared_ptr<const smtpclient::verdict> pending_answer::wait_until(
    std::chrono::steady_clock::time_point limit) {
    std::unique_lock lock(mutex_);
    // A predicate on the whole: a wake-up means nothing by itself.
    answered_.wait_until(lock, limit, [this] { return verdict_ != nullptr; });
    return verdict_;
}

void pending_answer::give(std::shared_ptr<const smtpclient::verdict> v, found_at where) {
    {
        const std::lock_guard lock(mutex_);
        where_ = where;
        verdict_ = std::move(v);
    }
    answered_.notify_all();
}

void joined_questions::use(std::size_t limit, unsigned share) {
    const std::lock_guard lock(mutex_);
    limit_ = limit;
    share_ = share;
}

bool joined_questions::is_full(domain_counts::const_iterator domain) const {
    if (limit_ == 0 || share_ == 0 || domain == domains_.end()) return false;
    return domain->second >= std::max<std::size_t>(1, limit_ * share_ / 100);
}

joined_questions::ticket joined_questions::join(const std::string& key, std::string_view domain) {
    const std::lock_guard lock(mutex_);
    const auto existing = under_way_.find(key);
    if (existing != under_way_.end()) return {existing->second.pending, false};
    if (limit_ != 0 && under_way_.size() >= limit_) return {};
    auto its = domains_.find(domain);
    if (is_full(its)) return {nullptr, false, true};
    if (its == domains_.end()) its = domains_.emplace(domain, 0).first;
    auto fresh = std::make_shared<pending_answer>();
    under_way_.emplace(key, question{fresh, its});
    ++its->second;
    return {std::move(fresh), true};
}

void joined_questions::answer(const std::string& key,
                              const std::shared_ptr<const smtpclient::verdict>& v,
                              found_at where) {
    std::shared_ptr<pending_answer> waiting;
    {
        const std::lock_guard lock(mutex_);
        const auto found = under_way_.find(key);
        if (found == under_way_.end()) return;
        waiting = std::move(found->second.pending);
        const auto domain = found->second.domain;
        under_way_.erase(found);
        if (--domain->second == 0) domains_.erase(domain);
    }
    waiting->give(v, where);
}

std::size_t joined_questions::size() const {
    const std::lock_guard lock(mutex_);
    return under_way_.size();
}

}  // namespace callforward::milter::verdicts
