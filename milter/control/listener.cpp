#include "milter/control/listener.h"

#include "milter/config_values.h"
#include "milter/listening_socket.h"
#include "milter/unix_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace callforward::milter::control {

namespace {

constexpr int backlog = 64;

[[noreturn]] void cannot_listen(const std::string& where) {
    throw std::runtime_error("cannot listen on " + where + ": " +
                             std::generic_category().message(errno));
}

struct endpoint {
    sockaddr_storage address{};
    socklen_t length = 0;
};

endpoint endpoint_of(const listen_address& at) {
    endpoint e;
    if (at.address.is_v4()) {
        sockaddr_in four{};
        four.sin_family = AF_INET;
        four.sin_port = htons(at.port);
        std::memcpy(&four.sin_addr, at.address.v4().data(), sizeof four.sin_addr);
        std::memcpy(&e.address, &four, sizeof four);
        e.length = sizeof four;
    } else {
        sockaddr_in6 six{};
        six.sin6_family = AF_INET6;
        six.sin6_port = htons(at.port);
        std::memcpy(&six.sin6_addr, at.address.v6().data(), sizeof six.sin6_addr);
        std::memcpy(&e.address, &six, sizeof six);
        e.length = sizeof six;
    }
    return e;
}

}  // namespace

listener::listener(int descriptor, std::string path)
    : descriptor_(descriptor), path_(std::move(path)) {}

listener::listener(listener&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::exchange(other.path_, {})) {}

listener& listener::operator=(listener&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    std::swap(path_, other.path_);
    return *this;
}

listener::~listener() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

listener listener::at_path(const std::string& path, const std::optional<account>& owner) {
    make_room_for("unix:" + path);
    const sockaddr_un address = unix_address(path).value();  // make_room_for() has looked
    listener made(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), path);
    // The mode is there from the first moment that the socket can be connected to.
    const mode_t before = umask(0117);
    const int bound =
        bind(made.descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    umask(before);
    if (bound != 0) cannot_listen(path);
    if (owner) errno = give_socket(path, owner->user, owner->group);
    if (owner && errno != 0) cannot_listen(path);
    if (::listen(made.descriptor_, backlog) != 0) cannot_listen(path);
    return made;
}

listener listener::at_address(const std::string& text) {
    const auto wanted = parse_listen(text);
    if (!wanted) {
        throw std::runtime_error("\"" + text + "\" is no address and port, as in 127.0.0.1:9589");
    }
    const endpoint e = endpoint_of(*wanted);
    listener made(::socket(e.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), {});
    const int yes = 1;
    setsockopt(made.descriptor_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    const auto* const generic = reinterpret_cast<const sockaddr*>(&e.address);
    if (bind(made.descriptor_, generic, e.length) != 0) cannot_listen(text);
    if (::listen(made.descriptor_, backlog) != 0) cannot_listen(text);
    return made;
}

std::uint16_t listener::port() const {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    if (getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address), &length) != 0) return 0;
    if (address.ss_family == AF_INET) {
        sockaddr_in four{};
        std::memcpy(&four, &address, sizeof four);
        return ntohs(four.sin_port);
    }
    if (address.ss_family == AF_INET6) {
        sockaddr_in6 six{};
        std::memcpy(&six, &address, sizeof six);
        return ntohs(six.sin6_port);
    }
    return 0;
}

void listener::remove_path() const {
    if (!path_.empty()) unlink(path_.c_str());
}

}  // namespace callforward::milter::control
