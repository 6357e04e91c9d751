#include "smtpclient/shunned_addresses.h"

#include <algorithm>

namespace callforward::smtpclient {

namespace {

constexpr std::size_t most = 64;

}  // namespace

void shunned_addresses::note(const endpoint& e, steady_time until) {
    const std::string name = e.text();
    if (until_.size() >= most && !until_.contains(name)) return;
    until_[name] = until;
}

void shunned_addresses::put_last(std::vector<endpoint>& all, steady_time now, steady_time again) {
    if (until_.empty()) return;
    std::stable_partition(all.begin(), all.end(), [&](const endpoint& e) {
        const auto found = until_.find(e.text());
        if (found == until_.end()) return true;
        if (found->second > now) return false;
        found->second = again;
        return true;
    });
    // DNS may name others by now.
    std::erase_if(until_, [&](const auto& entry) { return entry.second <= now; });
}

}  // namespace callforward::smtpclient
