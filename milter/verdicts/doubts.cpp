#include "milter/verdicts/doubts.h"

#include "milter/verdicts/record.h"

#include <utility>

namespace callforward::milter::verdicts {

namespace {

constexpr std::size_t most = 10'000;

}  // namespace

void doubts::add(const digest& key,
                 const smtpclient::verdict& v,
                 bool of_closed_domain,
                 time_point until,
                 time_point now) {
    if (until <= now) return;
    doubt fresh{std::make_shared<const smtpclient::verdict>(trimmed(v)), of_closed_domain};
    const std::lock_guard lock(mutex_);
    if (all_.size() >= most) {
        std::erase_if(all_, [&](const auto& each) { return each.second.until <= now; });
    }
    if (all_.size() >= most && !all_.contains(key)) return;
    all_.insert_or_assign(key, entry{std::move(fresh), until});
    has_some_ = true;
}

doubt doubts::find(const digest& key, time_point now) const {
    if (!has_some_) return {};
    const std::lock_guard lock(mutex_);
    const auto found = all_.find(key);
    return found == all_.end() || found->second.until <= now ? doubt{} : found->second.what;
}

void doubts::clear() {
    const std::lock_guard lock(mutex_);
    all_.clear();
    has_some_ = false;
}

}  // namespace callforward::milter::verdicts
