// The one event loop of the load generator and of the next hop: epoll, one thread, no library.
//
// Level-triggered; a handler is told of events until it is removed, and may remove itself or others
// meanwhile: what is removed is not called again, so an owner frees it only between two waits
// (graveyard of the owner). Times are steady_clock; wait() is exact to about 50 microseconds.
// Failure of the system's calls throws std::system_error: a measurement that lost its loop is none.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace callforward::bench {

using clock = std::chrono::steady_clock;

class handler {
public:
    virtual ~handler() = default;
    virtual void on_event(std::uint32_t events) = 0;
};

class descriptor {  // owns a file descriptor
public:
    explicit descriptor(int fd = -1) : fd_(fd) {}
    descriptor(descriptor&& other) noexcept : fd_(other.release()) {}
    descriptor& operator=(descriptor&& other) noexcept;
    ~descriptor() { reset(); }
    [[nodiscard]] int get() const { return fd_; }
    [[nodiscard]] bool open() const { return fd_ >= 0; }
    int release();
    void reset();

private:
    int fd_;
};

class poller {
public:
    poller();
    void add(int fd, handler& h, std::uint32_t events) const;
    void change(int fd, handler& h, std::uint32_t events) const;
    void remove(int fd, handler& h);
    // Handles what happens until then, once.
    void wait(clock::time_point until);

private:
    descriptor epoll_;
    std::unordered_set<handler*> removed_;  // since wait() began to hand out events
};

// Bytes that a peer did not take at once.
class output {
public:
    // False when the connection is broken.
    bool write(int fd, std::string_view bytes);
    bool flush(int fd);
    [[nodiscard]] bool empty() const { return pending_.empty(); }
    void clear() { pending_.clear(); }

private:
    std::string pending_;
};

// "unix:/path" or "127.0.0.1:25": a non-blocking socket on its way to being connected. `from`, an
// IPv4 address or 0, is what the peer sees. Not open when it can not be had.
[[nodiscard]] descriptor connect_to(const std::string& address, std::uint32_t from = 0);
[[nodiscard]] descriptor listen_at(std::uint32_t address, std::uint16_t port, int backlog);

// The address that a domain's number is delivered to: 127.0.3.1, 127.0.3.2, ...
[[nodiscard]] constexpr std::uint32_t host_address(unsigned number) {
    return 0x7f000301U + ((number / 250) << 8U) + number % 250;
}
[[nodiscard]] std::string dotted(std::uint32_t address);

// CPU seconds of this process, so that everybody sees who was the bottleneck.
[[nodiscard]] double cpu_seconds();

[[noreturn]] void fail(const std::string& what);  // std::system_error of errno

}  // namespace callforward::bench
