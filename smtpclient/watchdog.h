// A deadline for the operations of one socket: when it passes, the socket is closed, and what waits
// for it ends.
//
// Used instead of asio's `operation || timer`, which costs two coroutines and a parallel group for
// every line read. arm() before an operation, disarm() after it; expired() says which of the two
// ended it. Both are but a word written: the timer of a deadline that was met goes on, and looks
// for a later one when it ends. Dropping the watchdog ends the timer: the handler that may still be
// queued finds its generation gone and touches nothing. One event loop thread.
#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/steady_timer.hpp>

#include <chrono>
#include <functional>
#include <memory>

namespace callforward::smtpclient {

class watchdog {
public:
    watchdog(const asio::any_io_executor& executor, std::function<void()> on_expiry);
    ~watchdog();
    watchdog(const watchdog&) = delete;
    watchdog& operator=(const watchdog&) = delete;

    void arm(std::chrono::steady_clock::time_point deadline);
    void disarm();
    [[nodiscard]] bool expired() const;

private:
    struct state;
    std::shared_ptr<state>
        state_;  // shared with the handler of the timer, which may run after the watchdog is gone
};

}  // namespace callforward::smtpclient
