#include "milter/verdicts/joined_questions.h"

#include <utility>

namespace callforward::milter::verdicts {

std::shared_ptr<const smtpclient::verdict> pending_answer::wait_until(
    std::chrono::steady_clock::time_point limit) {
    std::unique_lock lock(mutex_);
    // A predicate on the whole: a wake-up means nothing by itself.
    answered_.wait_until(lock, limit, [this] { return verdict_ != nullptr; });
    return verdict_;
}

void pending_answer::give(std::shared_ptr<const smtpclient::verdict> v) {
    {
        const std::lock_guard lock(mutex_);
        verdict_ = std::move(v);
    }
    answered_.notify_all();
}

joined_questions::ticket joined_questions::join(const std::string& key) {
    const std::lock_guard lock(mutex_);
    const auto existing = under_way_.find(key);
    if (existing != under_way_.end()) return {existing->second, false};
    if (limit_ != 0 && under_way_.size() >= limit_) return {};
    auto fresh = std::make_shared<pending_answer>();
    under_way_.emplace(key, fresh);
    return {std::move(fresh), true};
}

void joined_questions::answer(const std::string& key,
                              const std::shared_ptr<const smtpclient::verdict>& v) {
    std::shared_ptr<pending_answer> waiting;
    {
        const std::lock_guard lock(mutex_);
        const auto found = under_way_.find(key);
        if (found == under_way_.end()) return;
        waiting = std::move(found->second);
        under_way_.erase(found);
    }
    waiting->give(v);
}

std::size_t joined_questions::size() const {
    const std::lock_guard lock(mutex_);
    return under_way_.size();
}

}  // namespace callforward::milter::verdicts
