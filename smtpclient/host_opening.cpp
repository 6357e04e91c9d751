// How a host opens a session: its endpoints, one after the other, until one lets us in.
#include "smtpclient/call_forward.h"
#include "smtpclient/connect.h"
#include "smtpclient/host.h"

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>

#include <algorithm>
#include <utility>

namespace callforward::smtpclient {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t most_endpoints = 8;

bool failed_to_secure(const conclusion& c) {
    return c.stage == stage::handshake && !c.reply;
}

}  // namespace

// Opens one session, or finds out that none can be had.
asio::awaitable<void> host::open([[maybe_unused]] std::shared_ptr<host> self) {
    attempts_ = 0;
    opening_at_ = stage::route;
    auto found = co_await find_endpoints(resolver_, reach_, target_, how_.trace);
    std::optional<host_answer> failure;
    if (!closed_ && found.verdict) {
        failure.emplace();
        failure->verdict = std::move(*found.verdict);
        failure->verdict.host = target_.name;
        failure->is_self = found.is_self;
        failure->no_addresses = found.no_addresses;
    } else if (!closed_) {
        for (const auto& e : found.endpoints)
            note_name(e.address ? e.address->text() : e.socket_path);
        if (found.endpoints.size() > most_endpoints) found.endpoints.resize(most_endpoints);
        auto endpoints = std::move(found.endpoints);
        failure = co_await try_endpoints(std::move(endpoints));
    }
    --opening_;
    if (closed_) co_return;
    if (failure && !carriers_.empty()) {
        // The others carry on, and no more are tried for now.
        shrunk_at_ = clock::now();
        most_sessions_ = std::min(most_sessions_, carriers_.size());
        dispatch();
    } else if (failure && opening_ == 0) {
        failure->attempts = attempts_;
        fail(*failure);
    } else if (!failure) {
        ailing_ = false;
        dispatch();
    }
}

// Nothing when a session was opened.
asio::awaitable<std::optional<host_answer>> host::try_endpoints(std::vector<endpoint> endpoints) {
    host_answer failure;
    const auto deadline = clock::now() + how_.by->timeout;
    while (!endpoints.empty() && !closed_ && clock::now() < deadline) {
        opening_at_ = stage::connect;
        auto line = co_await connect_any(endpoints, how_.by->connect_timeout, deadline);
        attempts_ += line.failed.size() + (line.socket ? 1 : 0);
        if (!line.socket) {
            if (failure.verdict.stage >= stage::connect) break;  // an earlier one says more
            failure.verdict = at(endpoints.front());
            failure.verdict.address.clear();
            failure.verdict.finding = {verdict_class::unreachable,
                                       line.timed_out ? reason::timed_out : reason::connect_failed};
            failure.verdict.stage = stage::connect;
            failure.verdict.detail = line.why;
            tell(line.why);
            break;
        }
        const endpoint winner = endpoints[line.which];
        line.failed.push_back(line.which);
        std::sort(line.failed.rbegin(), line.failed.rend());
        for (const std::size_t i : line.failed) {
            endpoints.erase(endpoints.begin() + static_cast<std::ptrdiff_t>(i));
        }
        auto socket = std::move(*line.socket);
        auto failed = co_await try_socket(winner, std::move(socket), how_.by->tls);
        if (!failed) co_return std::nullopt;
        if (failed->stage >= failure.verdict.stage) failure.verdict = std::move(*failed);
    }
    co_return failure;
}

asio::awaitable<std::optional<verdict>> host::try_socket(endpoint e,
                                                         stream_socket socket,
                                                         tls_level level) {
    tell("connected to " + e.text());
    auto c = std::make_unique<connection>(std::move(socket), how_.trace);
    const auto deadline = clock::now() + how_.by->timeout;
    opening::options options;
    options.helo = how_.helo;
    options.protocol = target_.protocol;
    options.tls = level;
    auto session = co_await open_session(*c,
                                         std::move(options),
                                         *how_.tls,
                                         target_.name,
                                         how_.by->reply_timeout,
                                         deadline,
                                         opening_at_);
    for (const auto& name : session.peer_names) note_name(name);
    if (closed_) co_return std::nullopt;
    if (!session.failed) {
        take(std::move(c), session, e);
        co_return std::nullopt;
    }
    verdict v = at(e);
    v.finding = session.failed->finding;
    v.stage = session.failed->stage;
    v.reply = session.failed->reply;
    v.detail = session.failed->detail;
    const bool again_in_clear = failed_to_secure(*session.failed) && level == tls_level::may &&
                                target_.protocol != protocol::smtps;
    if (!again_in_clear) co_return v;
    // RFC 7435: opportunistic TLS that fails must not make delivery worse than none.
    tell("again in clear, on a new connection");
    const std::vector<endpoint> same{e};
    auto line = co_await connect_any(same, how_.by->connect_timeout, deadline);
    ++attempts_;
    if (!line.socket || closed_) co_return v;
    auto second = std::move(*line.socket);
    co_return co_await try_socket(e, std::move(second), tls_level::none);
}

void host::take(std::unique_ptr<connection> c, const opened& session, const endpoint& e) {
    verdict about = at(e);
    about.tls = c->tls();
    const auto fresh = std::make_shared<carrier>(
        std::move(c), session.offered, std::move(about), how_.by->reply_timeout, limits_);
    carriers_.push_back(fresh);
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
        if (h->carriers_.empty()) h->pause_.cancel();
        h->dispatch();
    };
    o.answered = [me](std::chrono::nanoseconds latency,
                      std::optional<std::chrono::nanoseconds> gap) {
        if (const auto h = me.lock()) h->note_pace(latency, gap);
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
    fresh->start(std::move(o));
    if (watching_) return;
    watching_ = true;
    auto watcher = watch(shared_from_this());
    asio::co_spawn(executor_, std::move(watcher), asio::detached);
}

}  // namespace callforward::smtpclient
