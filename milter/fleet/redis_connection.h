// One connection to a Redis, Valkey or Sentinel: commands go out as they come, replies come back in
// order.
//
// request() gives the replies, or none when they are not here by the deadline or the connection
// ends; a reply that comes after its deadline is thrown away. A reply that nobody has asked for
// goes to on_push, or ends the connection where there is none. Deadlines have to come in the order
// of the requests. What waits is bounded: beyond it a request is refused at once. After its end a
// connection is of no further use. Owner: shared with the coroutines that read and write it, which
// end with close(), as it does when one of them finds no memory. One event loop thread.
#pragma once

#include "milter/fleet/byte_stream.h"
#include "milter/fleet/resp.h"

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/steady_timer.hpp>

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace callforward::milter::fleet {

class redis_connection : public std::enable_shared_from_this<redis_connection> {
public:
    using on_replies = std::function<void(std::optional<replies>)>;
    static constexpr std::size_t most_pending = 10000;
    static constexpr std::size_t most_unsent = 8U << 20U;  // bytes

    redis_connection(asio::any_io_executor executor, tls_files* tls);

    // "" when connected, else why not.
    [[nodiscard]] asio::awaitable<std::string> open(store_host host,
                                                    std::string socket_path,
                                                    steady_time deadline);
    // `count` replies will be due. then() is called once, not from within submit(), unless the
    // connection is destroyed first.
    void submit(std::string commands, std::size_t count, steady_time deadline, on_replies then);
    [[nodiscard]] asio::awaitable<std::optional<replies>> request(std::string commands,
                                                                  std::size_t count,
                                                                  steady_time deadline);
    // What is answered by on_push only.
    void send(std::string commands);
    void close(const std::string& why);
    [[nodiscard]] bool is_open() const { return open_; }
    [[nodiscard]] const std::string& why() const { return why_; }
    // Ended because what came was no reply of Redis.
    [[nodiscard]] bool was_foreign() const { return foreign_; }
    // When the oldest request that is still unanswered was made; nothing: all are answered.
    [[nodiscard]] std::optional<steady_time> unanswered_since() const;
    [[nodiscard]] steady_time last_heard() const { return last_heard_; }

    std::function<void(resp_value)> on_push;
    std::function<void()> on_end;  // once, after open() has succeeded

private:
    struct pending {
        std::size_t due;
        replies got;
        steady_time begun;
        steady_time deadline;
        on_replies then;  // empty: given up
    };

    void run(asio::awaitable<void> job);
    asio::awaitable<void> read_on(std::shared_ptr<redis_connection> self);
    asio::awaitable<void> write_on(std::shared_ptr<redis_connection> self);
    asio::awaitable<void> watch(std::shared_ptr<redis_connection> self);
    bool take(resp_value value);
    void give(pending& p, std::optional<replies> r);

    asio::any_io_executor executor_;
    byte_stream stream_;
    resp_reader reader_;
    bool open_ = false;
    bool foreign_ = false;
    bool has_answered_ = false;  // one request wholly
    std::string why_;
    std::string unsent_;
    std::deque<pending> pending_;
    bool watching_ = false;
    bool writing_ = false;
    asio::steady_timer due_;  // the earliest deadline
    steady_time last_heard_;
};

}  // namespace callforward::milter::fleet
