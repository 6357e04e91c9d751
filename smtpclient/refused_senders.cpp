#include "smtpclient/refused_senders.h"

#include "smtpclient/printable.h"

#include <chrono>

namespace callforward::smtpclient {

namespace {

constexpr std::size_t most_entries = 10000;
constexpr std::chrono::hours remembered{1};

}  // namespace

std::string refused_senders::key(const std::string& host, std::string_view sender) {
    const auto at = sender.rfind('@');
    const auto domain = at == std::string_view::npos ? std::string_view{} : sender.substr(at + 1);
    return host + ' ' + to_lower(domain);
}

bool refused_senders::knows(const std::string& key, steady_time now) const {
    const auto found = entries_.find(key);
    return found != entries_.end() && found->second > now;
}

void refused_senders::forget_domain(std::string_view of_senders) {
    const std::string end = ' ' + std::string(of_senders);
    std::erase_if(entries_,
                  [&](const auto& e) { return of_senders.empty() || e.first.ends_with(end); });
}

void refused_senders::note(const std::string& key, steady_time now) {
    if (entries_.size() >= most_entries) {
        std::erase_if(entries_, [&](const auto& e) { return e.second <= now; });
    }
    if (entries_.size() >= most_entries) entries_.clear();
    entries_[key] = now + remembered;
}

}  // namespace callforward::smtpclient
