#include "milter/fleet/renewal.h"

#include <asio/co_spawn.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include <exception>
#include <new>
#include <utility>

namespace callforward::milter::fleet {

renewal::renewal(asio::any_io_executor executor, std::chrono::milliseconds pause, duty what)
    : executor_(std::move(executor)), pause_(pause), duty_(std::move(what)), timer_(executor_) {}

// What is not renewed for want of memory ends early; the next that is held begins anew.
void renewal::keep_on(std::shared_ptr<void> owner) {
    if (runs_ || stopped_) return;
    try {
        auto running = run(owner);
        auto ended = [this, owner](const std::exception_ptr&) { runs_ = false; };
        runs_ = true;
        asio::co_spawn(executor_, std::move(running), std::move(ended));
    } catch (const std::bad_alloc&) {
        runs_ = false;
    }
}

void renewal::stop() {
    stopped_ = true;
    timer_.cancel();
}

asio::awaitable<void> renewal::run([[maybe_unused]] std::shared_ptr<void> owner) {
    while (!stopped_ && duty_.is_needed()) {
        timer_.expires_after(pause_);
        std::error_code ignored;
        auto token = asio::redirect_error(asio::use_awaitable, ignored);
        co_await timer_.async_wait(token);
        if (stopped_) break;
        try {
            duty_.renew();
        } catch (const std::bad_alloc&) {
            // The next time.
        }
    }
}

}  // namespace callforward::milter::fleet
