#include "smtpclient/watchdog.h"

#include <cstdint>
#include <optional>
#include <utility>

namespace callforward::smtpclient {

using clock = std::chrono::steady_clock;

struct watchdog::state {
    state(const asio::any_io_executor& executor, std::function<void()> then)
        : timer(executor), on_expiry(std::move(then)) {}

    asio::steady_timer timer;
    std::function<void()> on_expiry;
    std::optional<clock::time_point> deadline;  // while armed
    std::uint64_t generation = 0;               // of the wait that counts
    bool waiting = false;
    bool expired = false;

    static void wait(const std::shared_ptr<state>& s) {
        s->waiting = true;
        s->timer.expires_at(*s->deadline);
        s->timer.async_wait([s, generation = ++s->generation](const std::error_code& ec) {
            if (!ec && generation == s->generation) look(s);
        });
    }
    static void look(const std::shared_ptr<state>& s) {
        s->waiting = false;
        if (!s->deadline) return;
        if (*s->deadline > clock::now()) {
            wait(s);
            return;
        }
        s->deadline.reset();
        s->expired = true;
        s->on_expiry();
    }
};

watchdog::watchdog(const asio::any_io_executor& executor, std::function<void()> on_expiry)
    : state_(std::make_shared<state>(executor, std::move(on_expiry))) {}

watchdog::~watchdog() {
    disarm();
    ++state_->generation;
    state_->timer.cancel();
}

void watchdog::arm(clock::time_point deadline) {
    state_->deadline = deadline;
    if (!state_->waiting || state_->timer.expiry() > deadline) state::wait(state_);
}

void watchdog::disarm() {
    state_->deadline.reset();
}

bool watchdog::expired() const {
    return state_->expired;
}

}  // namespace callforward::smtpclient
