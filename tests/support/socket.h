// Loopback sockets for servers and clients in tests: owned descriptors, and addresses as text.
//
// An address is "127.0.0.1:25", "[::1]:0" or "unix:/path"; port 0 lets the kernel choose, and
// local_address() tells what it chose. Names are not resolved. All sockets are non-blocking and
// close-on-exec, TCP without Nagle's delay. Failures throw std::system_error (or
// std::invalid_argument for an address that is none).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

namespace callforward::testing {

class unique_fd {
public:
    unique_fd() = default;
    explicit unique_fd(int fd) : fd_(fd) {}
    ~unique_fd() { reset(); }
    unique_fd(unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    unique_fd& operator=(unique_fd&& other) noexcept {
        if (this != &other) {
            reset();
            fd_ = std::exchange(other.fd_, -1);
        }
        return *this;
    }

    [[nodiscard]] int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    void reset();

private:
    int fd_ = -1;
};

[[nodiscard]] unique_fd listen_on(const std::string& address);
[[nodiscard]] unique_fd connect_to(const std::string& address, std::chrono::milliseconds at_most);
// Nothing (an empty descriptor) when no connection is waiting.
[[nodiscard]] unique_fd accept_from(const unique_fd& listener);

[[nodiscard]] std::string local_address(const unique_fd& socket);
[[nodiscard]] std::uint16_t local_port(const unique_fd& socket);  // 0 for a unix socket

// Makes close() send RST instead of FIN.
void close_with_reset(unique_fd socket);

}  // namespace callforward::testing
