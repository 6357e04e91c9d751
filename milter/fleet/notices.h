// What edges tell each other, over one channel of the shared store: what was forgotten or declared,
// and the interlocks.
//
// A subscription of its own connection, made again after a failure as redis_link's. Messages that
// are no notice are passed over; our own come, too. The listener is told when notices begin to
// arrive, and since when they do not: a connection that has said nothing, not even to a ping, for
// three beats is one that has ended. Nothing is kept for those who do not listen: see
// verdicts/trust.h. One event loop thread.
#pragma once

#include "milter/fleet/notice.h"
#include "milter/fleet/redis_connection.h"
#include "milter/fleet/store_options.h"

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/steady_timer.hpp>

#include <functional>
#include <memory>
#include <random>
#include <string>

namespace callforward::milter::fleet {

class notices : public std::enable_shared_from_this<notices> {
public:
    struct listener {
        std::function<void(const notice&)> hear;
        std::function<void()> regained;
        std::function<void(steady_time since)> lost;
    };
    notices(asio::any_io_executor executor,
            std::shared_ptr<const store_options> options,
            tls_files* tls,
            listener to);

    void start();
    void stop();
    // Its name in the store: databases of one server share their channels.
    [[nodiscard]] static std::string channel_of(const store_options& options);

private:
    asio::awaitable<void> live(std::shared_ptr<notices> self);
    asio::awaitable<bool> subscribe();
    asio::awaitable<void> listen();
    void take(const resp_value& message);
    asio::awaitable<void> wait(std::chrono::milliseconds time);

    asio::any_io_executor executor_;
    std::shared_ptr<const store_options> options_;
    tls_files* tls_;
    const std::string channel_;
    listener to_;
    std::shared_ptr<redis_connection> connection_;
    asio::steady_timer pause_;
    bool stopped_ = false;
    std::size_t sentinel_ = 0;
    std::minstd_rand random_;
};

}  // namespace callforward::milter::fleet
