#include "milter/fleet/redis_connection.h"

#include <asio/async_result.hpp>
#include <asio/co_spawn.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

namespace callforward::milter::fleet {

using clock = std::chrono::steady_clock;

redis_connection::redis_connection(asio::any_io_executor executor, tls_files* tls)
    : executor_(std::move(executor)), stream_(executor_, tls), due_(executor_) {}

asio::awaitable<std::string> redis_connection::open(store_host host,
                                                    std::string socket_path,
                                                    steady_time deadline) {
    const auto self = shared_from_this();
    why_ = co_await stream_.open(std::move(host), std::move(socket_path), deadline);
    if (!why_.empty()) co_return why_;
    open_ = true;
    last_heard_ = clock::now();
    run(read_on(self));
    co_return std::string();
}

void redis_connection::submit(std::string commands,
                              std::size_t count,
                              steady_time deadline,
                              on_replies then) {
    const bool full = pending_.size() >= most_pending || unsent_.size() >= most_unsent;
    if (!open_ || full) {
        pending refused{count, {}, {}, deadline, std::move(then)};
        give(refused, std::nullopt);
        return;
    }
    pending_.push_back({count, {}, clock::now(), deadline, std::move(then)});
    try {
        send(std::move(commands));
        if (!watching_) {
            watching_ = true;
            run(watch(shared_from_this()));
        } else if (deadline < due_.expiry()) {
            due_.cancel();  // it looks again
        }
    } catch (const std::bad_alloc&) {
        close("no memory");  // the next replies would be taken for its own
    }
}

void redis_connection::send(std::string commands) {
    if (!open_ || unsent_.size() >= most_unsent) return;
    unsent_ += commands;
    if (writing_) return;
    writing_ = true;
    run(write_on(shared_from_this()));
}

void redis_connection::run(asio::awaitable<void> job) {
    const auto ended = [self = shared_from_this()](const std::exception_ptr& thrown) {
        if (!thrown) return;
        try {
            std::rethrow_exception(thrown);
        } catch (const std::bad_alloc&) {
            self->close("no memory");
        } catch (const std::exception& e) {
            self->close(e.what());
        }
    };
    asio::co_spawn(executor_, std::move(job), ended);
}

namespace {

// What begins a request when somebody awaits it. No lambda: see the compiler's fault with those.
struct begin_request {
    redis_connection* connection;
    std::string commands;
    std::size_t count;
    steady_time deadline;

    template <class Handler>
    void operator()(Handler handler) {
        // std::function wants a copy of what can only be moved.
        auto shared = std::make_shared<Handler>(std::move(handler));
        connection->submit(
            std::move(commands), count, deadline, [shared](std::optional<replies> r) {
                (*shared)(std::move(r));
            });
    }
};

}  // namespace

asio::awaitable<std::optional<replies>> redis_connection::request(std::string commands,
                                                                  std::size_t count,
                                                                  steady_time deadline) {
    const auto self = shared_from_this();
    begin_request begin{this, std::move(commands), count, deadline};
    auto answer =
        co_await asio::async_initiate<const asio::use_awaitable_t<>, void(std::optional<replies>)>(
            std::move(begin), asio::use_awaitable);
    co_return std::move(answer);
}

void redis_connection::give(pending& p, std::optional<replies> r) {
    if (!p.then) return;
    asio::post(executor_, [then = std::exchange(p.then, {}), r = std::move(r)]() mutable {
        then(std::move(r));
    });
}

asio::awaitable<void> redis_connection::read_on(
    [[maybe_unused]] std::shared_ptr<redis_connection> self) {
    while (open_) {
        const std::string bytes = co_await stream_.read();
        if (bytes.empty()) break;
        last_heard_ = clock::now();
        reader_.feed(bytes);
        resp_value value;
        auto progress = reader_.next(value);
        while (open_ && progress == resp_reader::progress::complete && take(std::move(value))) {
            progress = reader_.next(value);
        }
        if (open_ && progress == resp_reader::progress::malformed) {
            foreign_ = true;
            close(reader_.why());
        }
    }
    close(stream_.why());
}

bool redis_connection::take(resp_value value) {
    if (pending_.empty()) {
        if (on_push) {
            const auto push = on_push;  // it may close the connection
            push(std::move(value));
            return true;
        }
        foreign_ = true;
        close("a reply that nobody has asked for");
        return false;
    }
    pending& oldest = pending_.front();
    oldest.got.push_back(std::move(value));
    if (oldest.got.size() < oldest.due) return true;
    pending whole = std::move(oldest);
    pending_.pop_front();
    has_answered_ = true;
    give(whole, std::move(whole.got));
    return true;
}

asio::awaitable<void> redis_connection::write_on(
    [[maybe_unused]] std::shared_ptr<redis_connection> self) {
    while (open_ && !unsent_.empty()) {
        std::string bytes = std::exchange(unsent_, {});
        const bool written = co_await stream_.write(std::move(bytes));
        if (!written) {
            stream_.finish();  // why the server has closed may be said in what is still to be read
            break;
        }
    }
    writing_ = false;
}

// Gives up what has come too late; its replies are still taken when they come.
asio::awaitable<void> redis_connection::watch(
    [[maybe_unused]] std::shared_ptr<redis_connection> self) {
    while (open_ && !pending_.empty()) {
        const auto now = clock::now();
        auto next = steady_time::max();
        for (pending& p : pending_) {
            if (!p.then) continue;
            if (p.deadline > now) {
                next = std::min(next, p.deadline);  // the introduction has more time than others
            } else {
                give(p, std::nullopt);
            }
        }
        if (next == steady_time::max()) break;
        due_.expires_at(next);
        std::error_code ignored;
        auto token = asio::redirect_error(asio::use_awaitable, ignored);
        co_await due_.async_wait(token);
    }
    watching_ = false;
}

void redis_connection::close(const std::string& why) {
    if (!open_) return;
    open_ = false;
    why_ = why;
    // Turned away: a server with too many connections answers the first request so, and closes.
    if (!has_answered_ && !foreign_ && !pending_.empty() && !pending_.front().got.empty()) {
        const resp_value& first = pending_.front().got.front();
        if (first.is_error()) why_ = shown_error(first);
    }
    stream_.close();
    due_.cancel();
    for (pending& p : pending_) give(p, std::nullopt);
    pending_.clear();
    on_push = nullptr;
    if (const auto tell = std::exchange(on_end, nullptr)) tell();
}

std::optional<steady_time> redis_connection::unanswered_since() const {
    return pending_.empty() ? std::nullopt : std::optional(pending_.front().begun);
}

}  // namespace callforward::milter::fleet
