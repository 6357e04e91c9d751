// Applies what other edges have changed to this process' memory, on a thread of its own: to forget
// an address all of memory is looked through, which is too much for an event loop.
//
// In the order of put(). Beyond 10,000 that wait, memory is emptied instead: too little known is no
// harm. Ends with the object, what waits then is dropped. Thread: any.
#pragma once

#include "milter/verdicts/cache.h"

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace callforward::milter::fleet {

class change_queue {
public:
    static constexpr std::size_t most = 10000;

    explicit change_queue(verdicts::cache& known) : known_(known), thread_([this] { run(); }) {}
    change_queue(const change_queue&) = delete;
    change_queue& operator=(const change_queue&) = delete;
    ~change_queue() {
        {
            const std::lock_guard lock(mutex_);
            ends_ = true;
        }
        more_.notify_one();
        thread_.join();
    }

    void put(verdicts::change c) {
        {
            const std::lock_guard lock(mutex_);
            if (waiting_.size() >= most) {
                waiting_.clear();
                c = {verdicts::change::kind::forget_all, {}};
            }
            waiting_.push_back(std::move(c));
        }
        more_.notify_one();
    }

private:
    void run() {
        std::unique_lock lock(mutex_);
        for (;;) {
            more_.wait(lock, [this] { return ends_ || !waiting_.empty(); });
            if (ends_) return;
            const std::vector<verdicts::change> all = std::exchange(waiting_, {});
            lock.unlock();
            known_.apply(all, verdicts::moment::now());
            lock.lock();
        }
    }

    verdicts::cache& known_;
    std::mutex mutex_;
    std::condition_variable more_;
    std::vector<verdicts::change> waiting_;
    bool ends_ = false;
    std::thread thread_;  // last: it uses all of the above
};

}  // namespace callforward::milter::fleet
