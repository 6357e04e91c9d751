// What a host does with a session from when it is open until it has ended.
#include "smtpclient/host.h"

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <new>
#include <utility>

namespace callforward::smtpclient {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t longest_line = 300;  // of the opening, that is remembered
constexpr std::chrono::milliseconds between_looks{250};

}  // namespace

void host::take(std::unique_ptr<connection> c, const opened& session, const endpoint& e) {
    verdict about = at(e);
    about.tls = c->tls();
    auto lines = c->end_of_opening();
    for (auto& [side, line] : lines) {
        line = without_secrets(line, how_.by->login);
        if (line.size() > longest_line) line.resize(longest_line);
    }
    lines.emplace(lines.begin(), '*', "connected to " + e.text());
    const auto fresh = std::make_shared<carrier>(std::move(c),
                                                 session.offered,
                                                 std::move(about),
                                                 how_.by->reply_timeout,
                                                 limits_,
                                                 habits_,
                                                 e.client ? e.client->key() : "");
    fresh->remember_opening(std::move(lines));
    // Weak: a session may outlive its host by the time of a goodbye.
    const std::weak_ptr<host> me = weak_from_this();
    carrier::observer o;
    o.give_back = [me](std::vector<std::shared_ptr<errand>> back) {
        if (const auto h = me.lock()) h->put_back(std::move(back));
    };
    o.has_room = [me] {
        if (const auto h = me.lock()) h->dispatch();
    };
    o.ended = [me](const carrier& gone) {
        const auto h = me.lock();
        if (!h) return;
        std::erase_if(h->carriers_, [&](const auto& other) { return other.get() == &gone; });
        h->settle_leaves();
        if (h->carriers_.empty()) h->pause_.cancel();
        h->dispatch();
    };
    o.closed = [me] {
        const auto h = me.lock();
        if (!h) return;
        --h->connected_;
        h->dispatch();
    };
    o.answered = [me](std::chrono::nanoseconds latency, std::size_t ahead, bool refused) {
        const auto h = me.lock();
        if (!h) return;
        h->note_pace(latency, ahead);
        h->note_outcome(refused);
    };
    o.throttled = [me] {
        if (const auto h = me.lock()) h->ask_for_less();
    };
    o.broke = [me](std::size_t in_flight) {
        // What of it broke the session is found the sooner the fewer share one.
        const auto h = me.lock();
        if (!h) return;
        h->most_in_flight_ =
            std::max(1.0, std::min(h->most_in_flight_, static_cast<double>(in_flight)) / 2);
    };
    // Counted when it is being read from, and not before: memory may run out.
    carriers_.reserve(carriers_.size() + 1);
    fresh->start(std::move(o));
    carriers_.push_back(fresh);
    ++connected_;
    opened_since_growth_ = true;
    begin_to_watch();
}

void host::begin_to_watch() {
    if (watching_) return;
    try {
        auto watcher = watch(shared_from_this());
        asio::co_spawn(executor_, std::move(watcher), asio::detached);
        watching_ = true;
    } catch (const std::bad_alloc&) {  // with the next session, then
    }
}

// Ends what is idle, and relieves those who wait behind a slow answer, as long as there are
// sessions.
asio::awaitable<void> host::watch([[maybe_unused]] std::shared_ptr<host> self) {
    while (!carriers_.empty() && !closed_) {
        pause_.expires_after(between_looks);
        std::error_code ignored;
        auto token = asio::redirect_error(asio::use_awaitable, ignored);
        co_await pause_.async_wait(token);
        try {
            look_after_sessions();
        } catch (const std::bad_alloc&) {  // the next look does it
        }
    }
    watching_ = false;
}

void host::look_after_sessions() {
    const auto now = clock::now();
    const auto stalled = stalled_since();
    const auto sessions = carriers_;  // they leave the list while we go through it
    for (const auto& c : sessions) {
        if (c->is_idle() && now - c->idle_since() >= limits_.idle_session) c->retire();
        c->relieve(stalled);
    }
    dispatch();
}

}  // namespace callforward::smtpclient
