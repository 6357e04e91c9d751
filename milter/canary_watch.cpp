#include "milter/canary_watch.h"

#include "milter/log.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace callforward::milter {

namespace {

constexpr std::chrono::seconds longest_interval{60};
constexpr std::chrono::seconds shortest_interval{1};

// Nobody's mail is spoken of, and a client's sender is not ours to use again.
smtpclient::question about(const smtpclient::mailbox& canary, smtpclient::question q) {
    if (q.original_sender) q.sender.clear();
    q.original_sender = false;
    q.client.reset();
    q.parameters = {};
    q.trace = nullptr;
    q.recipient = canary;
    return q;
}

}  // namespace

canary_watch::canary_watch(interlock& lock, const interlock_settings& s, asker ask)
    : lock_(lock), ask_(std::move(ask)) {
    set(s);
    thread_ = std::thread([this] { run(); });
}

canary_watch::~canary_watch() {
    {
        const std::lock_guard lock(mutex_);
        ends_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

void canary_watch::set(const interlock_settings& s) {
    auto before = std::exchange(domains_, {});
    for (const std::string& address : s.canaries) {
        const auto canary = smtpclient::mailbox::parse(address);
        if (!canary || !canary->domain()) continue;
        const std::string& domain = canary->domain()->name();
        const auto [its, is_new] = domains_.try_emplace(domain);
        if (const auto old = before.find(domain); is_new && old != before.end()) {
            its->second = std::move(old->second);
            its->second.canaries.clear();
        }
        its->second.canaries.push_back(*canary);
    }
    const bool on = s.flip_limit > 0 || !s.canaries.empty();
    const milliseconds wanted = s.flip_window > milliseconds(0) ? s.flip_window : longest_interval;
    const milliseconds bounded =
        std::clamp<milliseconds>(wanted, shortest_interval, longest_interval);
    interval_ = on ? bounded : milliseconds(0);
}

void canary_watch::use(const interlock_settings& s) {
    {
        const std::lock_guard lock(mutex_);
        set(s);
    }
    changed_.notify_all();
}

void canary_watch::note(const smtpclient::question& q, const std::string& fingerprint) {
    if (!q.recipient.domain()) return;
    bool is_new = false;
    {
        const std::lock_guard lock(mutex_);
        const auto its = domains_.find(q.recipient.domain()->name());
        if (its == domains_.end()) return;
        its->second.example = q;
        its->second.fingerprint = fingerprint;
        is_new = !std::exchange(its->second.known, true);
        due_ = due_ || is_new;
    }
    if (is_new) changed_.notify_all();
}

void canary_watch::run() {
    auto last = std::chrono::steady_clock::now();
    std::unique_lock lock(mutex_);
    while (!ends_) {
        if (interval_ == std::chrono::milliseconds(0)) {
            changed_.wait(lock);
            continue;
        }
        if (!due_ && std::chrono::steady_clock::now() < last + interval_) {
            changed_.wait_until(lock, last + interval_);
            continue;
        }
        due_ = false;
        last = std::chrono::steady_clock::now();
        lock.unlock();
        try {
            lock_.settle(last);
            ask_all();
        } catch (const std::exception& e) {
            log::say(
                log_level::error, "internal error; canaries are not asked", {{"what", e.what()}});
        }
        lock.lock();
    }
}

void canary_watch::ask_all() {
    std::vector<std::pair<smtpclient::question, std::string>> questions;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [domain, its] : domains_) {
            if (!its.known) continue;
            for (const auto& canary : its.canaries) {
                questions.emplace_back(about(canary, its.example), its.fingerprint);
            }
        }
    }
    for (auto& [q, fingerprint] : questions) ask_(std::move(q), fingerprint);
}

}  // namespace callforward::milter
