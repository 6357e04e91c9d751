#include "milter/heartbeat.h"

#include "milter/log.h"

#include <algorithm>
#include <exception>

namespace callforward::milter {

heartbeat::heartbeat(std::chrono::microseconds watchdog, alive is_alive, std::function<void()> beat)
    : quarter_(std::max(std::chrono::milliseconds(1),
                        std::chrono::duration_cast<std::chrono::milliseconds>(watchdog / 4))),
      is_alive_(std::move(is_alive)),
      beat_(std::move(beat)),
      thread_([this] { run(); }) {}

heartbeat::~heartbeat() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    wake_.notify_one();
    thread_.join();
}

void heartbeat::run() {
    bool was_alive = true;
    std::unique_lock lock(mutex_);
    while (!ending_) {
        lock.unlock();
        try {
            const bool alive_now = is_alive_(quarter_);
            if (alive_now) beat_();
            if (was_alive && !alive_now) {
                log::say(log_level::error,
                         "an event loop does not answer; the service manager is no longer told "
                         "that all is well");
            }
            was_alive = alive_now;
        } catch (const std::exception&) {  // no memory to ask with: no beat
        }
        lock.lock();
        wake_.wait_for(lock, quarter_, [this] { return ending_; });
    }
}

}  // namespace callforward::milter
