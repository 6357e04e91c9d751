#include "tests/support/socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <system_error>

namespace callforward::testing {

namespace {

struct socket_address {
    sockaddr_storage storage{};
    socklen_t size = 0;

    // The sockets API takes every family's address by this one type.
    [[nodiscard]] const sockaddr* get() const {
        return reinterpret_cast<const sockaddr*>(&storage);  // NOLINT
    }
    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }  // NOLINT
};

[[noreturn]] void fail(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

socket_address unix_address(std::string_view path) {
    sockaddr_un address{};
    if (path.empty() || path.size() >= sizeof address.sun_path) {
        throw std::invalid_argument("unix socket path of a wrong length");
    }
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    socket_address result;
    std::memcpy(&result.storage, &address, sizeof address);
    result.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
    return result;
}

socket_address parse(std::string_view text) {
    if (text.starts_with("unix:")) return unix_address(text.substr(5));
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) throw std::invalid_argument("no port in an address");
    std::string host{text.substr(0, colon)};
    const std::string port{text.substr(colon + 1)};
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    addrinfo hints{};
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) {
        throw std::invalid_argument("not an address: " + std::string(text));
    }
    socket_address result;
    std::memcpy(&result.storage, found->ai_addr, found->ai_addrlen);
    result.size = found->ai_addrlen;
    ::freeaddrinfo(found);
    return result;
}

unique_fd make_socket(const socket_address& address) {
    unique_fd made(
        ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!made) fail("socket");
    return made;
}

void without_delay(const unique_fd& socket) {
    const int on = 1;  // fails on a unix socket, which has no such delay
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

socket_address own_address(const unique_fd& socket) {
    socket_address address;
    address.size = sizeof address.storage;
    if (::getsockname(socket.get(), address.get(), &address.size) != 0) fail("getsockname");
    return address;
}

}  // namespace

void unique_fd::reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
}

unique_fd listen_on(const std::string& address) {
    const socket_address where = parse(address);
    unique_fd made = make_socket(where);
    const int on = 1;
    ::setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::bind(made.get(), where.get(), where.size) != 0) fail("bind " + address);
    if (::listen(made.get(), SOMAXCONN) != 0) fail("listen " + address);
    return made;
}

unique_fd connect_to(const std::string& address, std::chrono::milliseconds at_most) {
    const socket_address where = parse(address);
    unique_fd made = make_socket(where);
    if (::connect(made.get(), where.get(), where.size) != 0) {
        if (errno != EINPROGRESS) fail("connect " + address);
        pollfd waits{made.get(), POLLOUT, 0};
        if (::poll(&waits, 1, static_cast<int>(at_most.count())) != 1) {
            errno = ETIMEDOUT;
            fail("connect " + address);
        }
        socklen_t size = sizeof errno;
        ::getsockopt(made.get(), SOL_SOCKET, SO_ERROR, &errno, &size);
        if (errno != 0) fail("connect " + address);
    }
    without_delay(made);
    return made;
}

unique_fd accept_from(const unique_fd& listener) {
    unique_fd made(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (made) without_delay(made);
    return made;
}

std::string local_address(const unique_fd& socket) {
    const socket_address address = own_address(socket);
    if (address.storage.ss_family == AF_UNIX) {
        sockaddr_un named{};
        std::memcpy(&named, &address.storage, sizeof named);
        return std::string("unix:") + named.sun_path;
    }
    std::array<char, NI_MAXHOST> host{};
    ::getnameinfo(
        address.get(), address.size, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST);
    const std::string port = std::to_string(local_port(socket));
    if (address.storage.ss_family == AF_INET6) return std::string("[") + host.data() + "]:" + port;
    return std::string(host.data()) + ":" + port;
}

std::uint16_t local_port(const unique_fd& socket) {
    const socket_address address = own_address(socket);
    if (address.storage.ss_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &address.storage, sizeof v4);
        return ntohs(v4.sin_port);
    }
    if (address.storage.ss_family == AF_INET6) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &address.storage, sizeof v6);
        return ntohs(v6.sin6_port);
    }
    return 0;
}

void close_with_reset(unique_fd socket) {
    const linger at_once{1, 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

}  // namespace callforward::testing
