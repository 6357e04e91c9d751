#include "tests/bench/plain_asking.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>

namespace callforward::bench {

plain_asking::~plain_asking() {
    if (socket_ >= 0) close(socket_);
}

bool plain_asking::open(std::string_view route) {
    const auto bracket = route.find("]:");
    if (!route.starts_with('[') || bracket == std::string_view::npos) return false;
    const std::string host(route.substr(1, bracket - 1));
    const std::string port(route.substr(bracket + 2));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port.c_str())));
    if (inet_pton(AF_INET, host.c_str(), &to.sin_addr) != 1) return false;
    socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval longest{10, 0};
    const int at_once = 1;
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest);
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    if (connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return false;
    return heard_yes() && say("EHLO mx.bench.test\r\n") && heard_yes();
}

bool plain_asking::say(std::string_view commands) {
    const auto sent = send(socket_, commands.data(), commands.size(), MSG_NOSIGNAL);
    return sent == static_cast<ssize_t>(commands.size());
}

bool plain_asking::heard_yes() {
    for (;;) {
        const auto end = heard_.find('\n');
        if (end != std::string::npos) {
            const bool is_last = end > 3 && heard_[3] == ' ';
            const bool yes = heard_.front() == '2';
            heard_.erase(0, end + 1);
            if (is_last) return yes;
            continue;
        }
        std::array<char, 4096> bytes;
        const auto count = recv(socket_, bytes.data(), bytes.size(), 0);
        if (count <= 0) return false;
        heard_.append(bytes.data(), static_cast<std::size_t>(count));
    }
}

bool plain_asking::accepts(std::string_view route, std::string_view recipient) {
    if (socket_ < 0 && !open(route)) return false;
    std::string commands = "MAIL FROM:<sender@bench.example>\r\nRCPT TO:<";
    commands.append(recipient).append(">\r\nRSET\r\n");
    if (!say(commands) || !heard_yes()) return false;
    const bool accepted = heard_yes();
    return heard_yes() && accepted;
}

}  // namespace callforward::bench
