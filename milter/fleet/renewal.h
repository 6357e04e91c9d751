// What is held in the store for a while is renewed as long as there is any: leases, of whatever
// kind. Without memory the next renewal does it.
//
// A member of its owner, which its coroutine shares. One event loop thread.
#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/steady_timer.hpp>

#include <chrono>
#include <functional>
#include <memory>

namespace callforward::milter::fleet {

class renewal {
public:
    struct duty {
        std::function<bool()> is_needed;  // something is held
        std::function<void()> renew;
    };
    renewal(asio::any_io_executor executor, std::chrono::milliseconds pause, duty what);

    // When something is held that was not, by the owner.
    void keep_on(std::shared_ptr<void> owner);
    void stop();  // for good

private:
    asio::awaitable<void> run(std::shared_ptr<void> owner);

    asio::any_io_executor executor_;
    const std::chrono::milliseconds pause_;
    const duty duty_;
    asio::steady_timer timer_;
    bool runs_ = false;
    bool stopped_ = false;
};

}  // namespace callforward::milter::fleet
