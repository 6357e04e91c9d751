#include "smtpclient/catch_all.h"

#include <random>

namespace callforward::smtpclient {

namespace {

constexpr std::size_t most_findings = 10000;
constexpr std::size_t random_letters = 20;

}  // namespace

std::optional<catch_all_findings::entry> catch_all_findings::find(const std::string& key,
                                                                  steady_time now) const {
    const auto found = entries_.find(key);
    if (found == entries_.end() || found->second.expires <= now) return std::nullopt;
    return found->second;
}

void catch_all_findings::note(const std::string& key,
                              bool accepts_any,
                              std::chrono::seconds lifetime,
                              steady_time now) {
    if (entries_.size() >= most_findings) {
        std::erase_if(entries_, [&](const auto& e) { return e.second.expires <= now; });
    }
    if (entries_.size() >= most_findings) entries_.clear();
    entries_[key] = {accepts_any, now + lifetime};
}

void catch_all_findings::forget(std::string_view domain) {
    ++times_forgotten_;
    const std::string end = key("", std::string(domain));
    std::erase_if(entries_,
                  [&](const auto& e) { return domain.empty() || e.first.ends_with(end); });
}

std::vector<std::string> catch_all_findings::accepting(std::string_view beginning,
                                                       std::size_t most,
                                                       steady_time now) const {
    std::vector<std::string> found;
    for (const auto& [key, e] : entries_) {
        if (found.size() >= most) break;
        if (e.accepts_any && now < e.expires && key.starts_with(beginning)) found.push_back(key);
    }
    return found;
}

mailbox random_recipient(const mailbox& like) {
    constexpr std::string_view alphabet = "abcdefghijklmnopqrstuvwxyz0123456789";
    std::random_device device;
    std::uniform_int_distribution<std::size_t> any(0, alphabet.size() - 1);
    std::string local = "cf-";
    for (std::size_t i = 0; i < random_letters; ++i) local += alphabet[any(device)];
    return mailbox::parse(local + '@' + like.domain_part()).value_or(like);
}

}  // namespace callforward::smtpclient
