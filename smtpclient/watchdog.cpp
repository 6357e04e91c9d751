#include "smtpclient/watchdog.h"

namespace callforward::smtpclient {

struct watchdog::state {
    asio::steady_timer timer;
    std::function<void()> on_expiry;
    std::uint64_t generation = 0;
    bool expired = false;
};

watchdog::watchdog(const asio::any_io_executor& executor, std::function<void()> on_expiry)
    : state_(std::make_shared<state>(asio::steady_timer(executor), std::move(on_expiry))) {}

watchdog::~watchdog() {
    disarm();
}

void watchdog::arm(std::chrono::steady_clock::time_point deadline) {
    const std::uint64_t generation = ++state_->generation;
    state_->timer.expires_at(deadline);
    state_->timer.async_wait([s = state_, generation](const std::error_code& ec) {
        if (ec || generation != s->generation) return;
        s->expired = true;
        s->on_expiry();
    });
}

void watchdog::disarm() {
    ++state_->generation;
    state_->timer.cancel();
}

bool watchdog::expired() const {
    return state_->expired;
}

}  // namespace callforward::smtpclient
