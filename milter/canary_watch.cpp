#include "milter/canary_watch.h"

#include "milter/log.h"
#include "smtpclient/printable.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace callforward::milter {

namespace {

constexpr std::chrono::seconds longest_interval{60};
constexpr std::chrono::seconds shortest_interval{1};

// Nobody's mail is spoken of, a client's sender is not ours to use again, and what is said is not
// to be found by the trace id that a client was told.
smtpclient::question about(const smtpclient::mailbox& canary, smtpclient::question q) {
    q.id = 0;
    if (q.original_sender) q.sender.clear();
    q.original_sender = false;
    q.client.reset();
    q.parameters = {};
    q.trace = nullptr;
    q.recipient = canary;
    return q;
}

}  // namespace

canary_watch::canary_watch(interlock& lock,
                           const interlock_settings& s,
                           asker ask,
                           forgetter forget)
    : lock_(lock), ask_(std::move(ask)), forget_(std::move(forget)) {
    set(s);
    thread_ = std::thread([this] { run(); });
}

canary_watch::~canary_watch() {
    end();
}

void canary_watch::end() {
    {
        const std::lock_guard lock(mutex_);
        ends_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void canary_watch::set(const interlock_settings& s) {
    domains_.clear();
    for (const std::string& address : s.canaries) {
        const auto valid = smtpclient::mailbox::parse(address);
        if (!valid || !valid->domain()) continue;
        domains_[valid->domain()->name()].canaries.push_back(
            {*valid, smtpclient::to_lower(valid->key()), {}});
    }
    lacks_a_way_ = !domains_.empty();
    const bool on = s.flip_limit > 0 || !s.canaries.empty();
    const milliseconds wanted = s.flip_window > milliseconds(0) ? s.flip_window : longest_interval;
    const milliseconds bounded =
        std::clamp<milliseconds>(wanted, shortest_interval, longest_interval);
    interval_ = on ? bounded : milliseconds(0);
    // A canary may have been asked just before the outage began.
    lately_ = std::max<milliseconds>(s.flip_window, longest_interval);
}

void canary_watch::use(const interlock_settings& s) {
    {
        const std::lock_guard lock(mutex_);
        set(s);
    }
    changed_.notify_all();
}

void canary_watch::note_closed(const std::string& domain) {
    {
        const std::lock_guard lock(mutex_);
        closed_.insert(domain);
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
        const std::string key = smtpclient::to_lower(q.recipient.key());
        for (canary& each : its->second.canaries) {
            if (each.key != key) continue;
            is_new = !each.its_own && !its->second.anybodys;
            each.its_own = {q, fingerprint};
        }
        if (!q.in_its_own_way) {
            is_new = !its->second.anybodys;
            its->second.anybodys = {q, fingerprint};
            lacks_a_way_ = std::any_of(domains_.begin(), domains_.end(), [](const auto& row) {
                return !row.second.anybodys;
            });
        }
        due_ = due_ || is_new;
    }
    if (is_new) changed_.notify_all();
}

void canary_watch::note_first(const smtpclient::question& q, const std::string& fingerprint) {
    if (!lacks_a_way_ || !q.recipient.domain()) return;
    {
        const std::lock_guard lock(mutex_);
        const auto its = domains_.find(q.recipient.domain()->name());
        if (its == domains_.end() || its->second.anybodys) return;
    }
    note(q, fingerprint);
}

void canary_watch::run() {
    auto last = std::chrono::steady_clock::now();
    std::unique_lock lock(mutex_);
    while (!ends_) {
        const bool on = interval_ > std::chrono::milliseconds(0);
        const bool due = on && (due_ || std::chrono::steady_clock::now() >= last + interval_);
        if (!due && closed_.empty()) {
            if (on) {
                changed_.wait_until(lock, last + interval_);
            } else {
                changed_.wait(lock);
            }
            continue;
        }
        if (due) {
            due_ = false;
            last = std::chrono::steady_clock::now();
        }
        const auto closed = std::exchange(closed_, {});
        const auto lately = lately_;
        lock.unlock();
        try {
            if (!closed.empty()) forget_(closed, lately);
            if (due) lock_.settle(last);
            if (due) ask_all();
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
            for (const canary& each : its.canaries) {
                const auto& known = each.its_own ? each.its_own : its.anybodys;
                if (known)
                    questions.emplace_back(about(each.address, known->example), known->fingerprint);
            }
        }
    }
    for (auto& [q, fingerprint] : questions) ask_(std::move(q), fingerprint);
}

}  // namespace callforward::milter
