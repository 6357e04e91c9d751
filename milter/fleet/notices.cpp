#include "milter/fleet/notices.h"

#include "milter/fleet/endless.h"
#include "milter/fleet/redis_opening.h"

#include <asio/co_spawn.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <exception>
#include <utility>

namespace callforward::milter::fleet {

using clock = std::chrono::steady_clock;

notices::notices(asio::any_io_executor executor,
                 std::shared_ptr<const store_options> options,
                 tls_files* tls,
                 listener to)
    : executor_(std::move(executor)),
      options_(std::move(options)),
      tls_(tls),
      channel_(channel_of(*options_)),
      to_(std::move(to)),
      pause_(executor_),
      random_(std::random_device{}()) {}

std::string notices::channel_of(const store_options& options) {
    return options.at.prefix + "news:" + std::to_string(options.at.database);
}

void notices::start() {
    auto life = live(shared_from_this());
    asio::co_spawn(executor_, std::move(life), endless{});
}

void notices::stop() {
    stopped_ = true;
    if (connection_) connection_->close("stopped");
    pause_.cancel();
}

asio::awaitable<void> notices::wait(std::chrono::milliseconds time) {
    pause_.expires_after(time);
    std::error_code ignored;
    auto token = asio::redirect_error(asio::use_awaitable, ignored);
    co_await pause_.async_wait(token);
}

// What is the matter is said by the links, which fare alike.
asio::awaitable<void> notices::live([[maybe_unused]] std::shared_ptr<notices> self) {
    unsigned failures = 0;
    while (!stopped_) {
        bool subscribed = false;
        try {
            subscribed = co_await subscribe();
            if (subscribed) {
                failures = 0;
                to_.regained();
                co_await listen();
            }
        } catch (const std::exception&) {
            // No memory, or no thread to resolve a name on: as any other failure.
        }
        if (connection_) connection_->close("it is left");
        if (subscribed) to_.lost(connection_->last_heard());
        if (stopped_) break;
        const auto time = pause_after(failures, *options_, random_);
        ++failures;
        co_await wait(time);
    }
}

asio::awaitable<bool> notices::subscribe() {
    const auto opened = co_await open_redis(executor_, options_, tls_, sentinel_, connection_);
    if (!opened.why.empty() || stopped_) co_return false;
    // Before it is asked for: a message may come in the same packet as the answer.
    connection_->on_push = [this](const resp_value& message) { take(message); };
    const auto deadline = clock::now() + options_->connect_within;
    std::string command = resp_command({"SUBSCRIBE", channel_});
    const auto got = co_await connection_->request(std::move(command), 1, deadline);
    const bool subscribed = got && got->front().elements.size() == 3;
    if (!subscribed) connection_->close("no subscription");
    co_return subscribed && connection_->is_open();
}

asio::awaitable<void> notices::listen() {
    connection_->on_end = [this] { pause_.cancel(); };
    const auto beat = options_->between_beats;
    while (connection_->is_open()) {
        connection_->send(resp_command({"PING"}));
        co_await wait(beat);
        const auto silent = clock::now() - connection_->last_heard();
        if (silent >= std::max(options_->stalled_after, 3 * beat)) {
            connection_->close("no answer for too long");
        }
    }
}

void notices::take(const resp_value& message) {
    const auto& parts = message.elements;
    if (message.is_error()) connection_->close("an error");
    if (parts.size() != 3 || parts[0].text != "message" || parts[1].text != channel_) return;
    const auto n = parse_notice(parts[2].text);
    if (n) to_.hear(*n);
}

}  // namespace callforward::milter::fleet
