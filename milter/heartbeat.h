// The service manager's watchdog: told that the daemon lives, and only while it does.
//
// Where WATCHDOG_USEC asks for it (WatchdogSec= of systemd), is_alive is called four times in that
// time, and beat after each call that gave true. is_alive gets the time it may take, a quarter as
// well; one that takes longer, or gives false, costs beats, and without beats the service manager
// restarts us. Owns a thread; both functions are called on it. The destructor waits for the call
// under way.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace callforward::milter {

class heartbeat {
public:
    using alive = std::function<bool(std::chrono::milliseconds at_most)>;

    heartbeat(std::chrono::microseconds watchdog, alive is_alive, std::function<void()> beat);
    ~heartbeat();
    heartbeat(const heartbeat&) = delete;
    heartbeat& operator=(const heartbeat&) = delete;

private:
    void run();

    const std::chrono::milliseconds quarter_;
    const alive is_alive_;
    const std::function<void()> beat_;
    std::mutex mutex_;
    std::condition_variable wake_;
    bool ending_ = false;
    std::thread thread_;  // last: it uses all of the above
};

}  // namespace callforward::milter
