#include "milter/control/http_server.h"

#include "milter/control/http_conversation.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace callforward::milter::control {

namespace {

constexpr std::chrono::milliseconds pause_after_error{50};

}  // namespace

class http_server::implementation {
public:
    implementation(listener on, const http_limits& limits, responder respond)
        : on_(std::move(on)), limits_(limits), conversation_(limits, std::move(respond)) {
        try {
            for (unsigned i = 0; i < limits_.threads; ++i) {
                threads_.emplace_back([this] { work(); });
            }
            threads_.emplace_back([this] { accept_all(); });
        } catch (...) {  // no thread to be had
            end();
            throw;
        }
    }

    ~implementation() {
        end();
        for (const int descriptor : waiting_) ::close(descriptor);
    }

    [[nodiscard]] const listener& on() const { return on_; }

private:
    void end() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        ::shutdown(on_.descriptor(), SHUT_RDWR);  // ends accept()
        for (auto& thread : threads_) thread.join();
    }

    [[nodiscard]] bool is_stopping() {
        const std::lock_guard lock(mutex_);
        return stopping_;
    }

    void accept_all() {
        while (!is_stopping()) {
            const int descriptor = accept4(on_.descriptor(), nullptr, nullptr, SOCK_CLOEXEC);
            if (descriptor < 0) {
                // Out of descriptors, or a client that has gone.
                if (errno != EINTR) std::this_thread::sleep_for(pause_after_error);
                continue;
            }
            std::unique_lock lock(mutex_);
            if (waiting_.size() >= limits_.waiting || stopping_) {
                lock.unlock();
                ::close(descriptor);
                continue;
            }
            waiting_.push_back(descriptor);
            lock.unlock();
            wake_.notify_one();
        }
    }

    void work() {
        for (;;) {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
            if (stopping_) return;
            const int descriptor = waiting_.front();
            waiting_.pop_front();
            lock.unlock();
            conversation_.have(descriptor);
        }
    }

    listener on_;
    const http_limits limits_;
    const http_conversation conversation_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<int> waiting_;  // accepted, for a thread that is free
    bool stopping_ = false;
    std::vector<std::thread> threads_;
};

http_server::http_server(listener on, const http_limits& limits, responder respond)
    : implementation_(std::make_unique<implementation>(std::move(on), limits, std::move(respond))) {
}

http_server::~http_server() = default;

std::uint16_t http_server::port() const {
    return implementation_->on().port();
}

void http_server::remove_path() const {
    implementation_->on().remove_path();
}

}  // namespace callforward::milter::control
