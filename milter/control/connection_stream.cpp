#include "milter/control/connection_stream.h"

#include "smtpclient/printable.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace callforward::milter::control {

namespace {

constexpr std::size_t longest_head = 8192;
constexpr std::size_t longest_line = 2048;

// What the library would parse with a recursive matcher, or act on, and nobody here has a use for.
bool is_acceptable(std::string_view head) {
    while (!head.empty()) {
        const auto end = std::min(head.find('\n'), head.size() - 1);
        const std::string_view line = head.substr(0, end + 1);
        if (line.size() > longest_line) return false;
        if (smtpclient::equal_ignoring_case(line.substr(0, 6), "range:")) return false;
        head.remove_prefix(end + 1);
    }
    return true;
}

}  // namespace

connection_stream::connection_stream(int descriptor, std::chrono::milliseconds patience)
    : descriptor_(descriptor), patience_(patience), read_by_(clock::now() + patience) {}

connection_stream::~connection_stream() {
    ::shutdown(descriptor_, SHUT_WR);
    // What the client has sent in vain must not turn our answer into a reset.
    std::array<char, 4096> ignored{};
    constexpr int most_reads = 64;
    for (int i = 0; i < most_reads; ++i) {
        if (recv(descriptor_, ignored.data(), ignored.size(), MSG_DONTWAIT) <= 0) break;
    }
    ::close(descriptor_);
}

bool connection_stream::wait_for(short event, clock::time_point until) const {
    for (;;) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(until - clock::now()).count();
        if (left <= 0) return false;
        pollfd p{descriptor_, event, 0};
        const int ready = ::poll(&p, 1, static_cast<int>(left));
        if (ready > 0) return true;
        if (ready == 0 || errno != EINTR) return false;
    }
}

int connection_stream::read_head() {
    constexpr int no_answer = -1;
    constexpr int bad_request = 400;
    constexpr int timeout = 408;
    constexpr int too_large = 431;
    for (;;) {
        const auto end = unread_.find("\r\n\r\n");
        if (end != std::string::npos) {
            return is_acceptable(std::string_view(unread_).substr(0, end + 2)) ? 0 : bad_request;
        }
        if (unread_.size() >= longest_head) return too_large;
        if (!wait_for(POLLIN, read_by_)) return unread_.empty() ? no_answer : timeout;
        std::array<char, 4096> bytes{};
        const ssize_t count = recv(descriptor_, bytes.data(), bytes.size(), 0);
        if (count <= 0) return no_answer;
        unread_.append(bytes.data(), static_cast<std::size_t>(count));
    }
}

void connection_stream::say(int status) {
    const std::string text = "HTTP/1.1 " + std::to_string(status) +
                             " refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    write(text.data(), text.size());
}

bool connection_stream::is_readable() const {
    return taken_ < unread_.size() || wait_for(POLLIN, read_by_);
}

bool connection_stream::is_writable() const {
    return true;  // write() waits itself
}

ssize_t connection_stream::read(char* into, std::size_t size) {
    if (taken_ < unread_.size()) {
        const std::size_t count = std::min(size, unread_.size() - taken_);
        std::memcpy(into, unread_.data() + taken_, count);
        taken_ += count;
        if (taken_ == unread_.size()) {
            unread_.clear();
            taken_ = 0;
            read_by_ = clock::now() + patience_;  // for a body, all of it
        }
        return static_cast<ssize_t>(count);
    }
    if (!wait_for(POLLIN, read_by_)) return -1;
    return recv(descriptor_, into, size, 0);
}

ssize_t connection_stream::write(const char* from, std::size_t size) {
    const auto write_by = clock::now() + patience_;
    std::size_t done = 0;
    while (done < size) {
        if (!wait_for(POLLOUT, write_by)) return -1;
        const ssize_t count =
            send(descriptor_, from + done, size - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0 && errno != EAGAIN && errno != EINTR) return -1;
        if (count > 0) done += static_cast<std::size_t>(count);
    }
    return static_cast<ssize_t>(size);
}

void connection_stream::get_remote_ip_and_port(std::string& ip, int& port) const {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    if (getpeername(descriptor_, generic, &length) != 0) return;
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (address.ss_family == AF_UNIX) {
        ucred who{};
        length = sizeof who;
        if (getsockopt(descriptor_, SOL_SOCKET, SO_PEERCRED, &who, &length) != 0) return;
        ip = "uid " + std::to_string(who.uid);
        port = who.pid;
    } else if (address.ss_family == AF_INET) {
        sockaddr_in four{};
        std::memcpy(&four, &address, sizeof four);
        ip = inet_ntop(AF_INET, &four.sin_addr, text.data(), text.size());
        port = ntohs(four.sin_port);
    } else if (address.ss_family == AF_INET6) {
        sockaddr_in6 six{};
        std::memcpy(&six, &address, sizeof six);
        ip = inet_ntop(AF_INET6, &six.sin6_addr, text.data(), text.size());
        port = ntohs(six.sin6_port);
    }
}

void connection_stream::get_local_ip_and_port(std::string& ip, int& port) const {
    ip.clear();
    port = 0;
}

}  // namespace callforward::milter::control
