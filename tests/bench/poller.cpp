#include "tests/bench/poller.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <system_error>

namespace callforward::bench {

void fail(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

descriptor& descriptor::operator=(descriptor&& other) noexcept {
    if (this != &other) {
        reset();
        fd_ = other.release();
    }
    return *this;
}

int descriptor::release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
}

void descriptor::reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
}

poller::poller() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    if (!epoll_.open()) fail("epoll_create1");
}

namespace {

void control(int epoll, int operation, int fd, handler& h, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.ptr = &h;
    if (epoll_ctl(epoll, operation, fd, &event) != 0) fail("epoll_ctl");
}

}  // namespace

void poller::add(int fd, handler& h, std::uint32_t events) const {
    control(epoll_.get(), EPOLL_CTL_ADD, fd, h, events);
}

void poller::change(int fd, handler& h, std::uint32_t events) const {
    control(epoll_.get(), EPOLL_CTL_MOD, fd, h, events);
}

void poller::remove(int fd, handler& h) {
    control(epoll_.get(), EPOLL_CTL_DEL, fd, h, 0);
    removed_.insert(&h);
}

void poller::wait(clock::time_point until) {
    std::array<epoll_event, 256> events{};
    const auto left = std::max(until - clock::now(), clock::duration::zero());
    const auto whole = std::chrono::duration_cast<std::chrono::seconds>(left);
    timespec patience{};
    patience.tv_sec = whole.count();
    patience.tv_nsec = std::chrono::nanoseconds(left - whole).count();
    const int found = epoll_pwait2(
        epoll_.get(), events.data(), static_cast<int>(events.size()), &patience, nullptr);
    if (found < 0 && errno != EINTR) fail("epoll_pwait2");
    removed_.clear();
    for (int i = 0; i < found; ++i) {
        const auto& event = events.at(static_cast<std::size_t>(i));
        auto* const h = static_cast<handler*>(event.data.ptr);
        // A handler that came back under the same address has lost these events, which is harmless:
        // they are level-triggered.
        if (removed_.empty() || removed_.count(h) == 0) h->on_event(event.events);
    }
}

bool output::write(int fd, std::string_view bytes) {
    if (!pending_.empty()) {
        pending_ += bytes;
        return true;
    }
    while (!bytes.empty()) {
        const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
            pending_ = bytes;
            return true;
        }
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
}

bool output::flush(int fd) {
    const std::string bytes = std::move(pending_);
    pending_.clear();
    return write(fd, bytes);
}

namespace {

sockaddr_in internet(std::uint32_t address, std::uint16_t port) {
    sockaddr_in socket{};
    socket.sin_family = AF_INET;
    socket.sin_addr.s_addr = htonl(address);
    socket.sin_port = htons(port);
    return socket;
}

template <class Address>
const sockaddr* generic(const Address& address) {
    return reinterpret_cast<const sockaddr*>(&address);  // what the socket calls want
}

void no_delay(int fd) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

descriptor connect_unix(const std::string& path) {
    sockaddr_un target{};
    target.sun_family = AF_UNIX;
    if (path.size() >= sizeof target.sun_path) return descriptor();
    std::memcpy(target.sun_path, path.c_str(), path.size() + 1);
    descriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.open()) fail("socket");
    if (connect(fd.get(), generic(target), sizeof target) != 0) return descriptor();
    return fd;
}

}  // namespace

descriptor connect_to(const std::string& address, std::uint32_t from) {
    if (address.starts_with("unix:")) return connect_unix(address.substr(5));
    const auto colon = address.rfind(':');
    in_addr host{};
    std::uint16_t port = 0;
    if (colon == std::string::npos ||
        inet_pton(AF_INET, address.substr(0, colon).c_str(), &host) != 1 ||
        std::from_chars(address.data() + colon + 1, address.data() + address.size(), port).ec !=
            std::errc{}) {
        errno = EINVAL;
        fail(address);
    }
    descriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.open()) fail("socket");
    no_delay(fd.get());
    if (from != 0) {
        const auto source = internet(from, 0);
        if (bind(fd.get(), generic(source), sizeof source) != 0) return descriptor();
    }
    const auto target = internet(ntohl(host.s_addr), port);
    if (connect(fd.get(), generic(target), sizeof target) != 0 && errno != EINPROGRESS) {
        return descriptor();
    }
    return fd;
}

descriptor listen_at(std::uint32_t address, std::uint16_t port, int backlog) {
    descriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int on = 1;
    const auto here = internet(address, port);
    if (!fd.open()) fail("socket");
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    no_delay(fd.get());  // those accepted inherit it
    if (bind(fd.get(), generic(here), sizeof here) != 0 || listen(fd.get(), backlog) != 0) {
        fail("listen at " + dotted(address) + ':' + std::to_string(port));
    }
    return fd;
}

std::string dotted(std::uint32_t address) {
    return std::to_string(address >> 24U) + '.' + std::to_string(address >> 16U & 255U) + '.' +
           std::to_string(address >> 8U & 255U) + '.' + std::to_string(address & 255U);
}

double cpu_seconds() {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
}

}  // namespace callforward::bench
