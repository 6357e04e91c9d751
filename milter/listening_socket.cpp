#include "milter/listening_socket.h"

#include "milter/config.h"
#include "milter/descriptor.h"
#include "milter/unix_address.h"

#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <stdexcept>
#include <system_error>

namespace callforward::milter {

namespace {

std::string reason_of(int error) {
    return std::generic_category().message(error);
}

[[noreturn]] void cannot_listen(const std::string& socket, const std::string& why) {
    throw std::runtime_error("cannot listen on " + socket + ": " + why);
}

std::string hint_about_path(int error) {
    if (error == ENOENT) return "; its folder has to be made first";
    if (error == EACCES) {
        return "; the user of this process may make no files in its folder: give it the folder, or "
               "start as root, with [milter] user for the time after";
    }
    if (error == EROFS) {
        return "; under the systemd unit only the folders of its ReadWritePaths can be written to";
    }
    return {};
}

std::string hint_about_address(int error) {
    if (error == EADDRINUSE) return "; another process is listening there";
    if (error == EADDRNOTAVAIL) {
        return "; this host has no such address: use one of its own, or 127.0.0.1 where the MTA "
               "is on this host";
    }
    if (error == EACCES) return "; ports below 1024 are root's: choose a higher one";
    return {};
}

// Binds for a moment, for the sake of the error message.
void try_path(const std::string& socket, const sockaddr_un& address) {
    const descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto* const generic = reinterpret_cast<const sockaddr*>(&address);
    if (bind(probe.get(), generic, sizeof address) != 0) {
        cannot_listen(socket, reason_of(errno) + hint_about_path(errno));
    }
    unlink(address.sun_path);
}

sockaddr_un address_of_path(const std::string& socket, const std::string& path) {
    const auto address = unix_address(path);
    if (!address) cannot_listen(socket, "the path is too long");
    return *address;
}

void make_room_for_path(const std::string& socket, const std::string& path) {
    const sockaddr_un address = address_of_path(socket, path);
    struct stat there {};
    if (lstat(path.c_str(), &there) != 0) {
        if (errno != ENOENT) cannot_listen(socket, reason_of(errno) + hint_about_path(errno));
        try_path(socket, address);
        return;
    }
    if (!S_ISSOCK(there.st_mode)) {
        cannot_listen(socket,
                      "something is there that is no socket; move it away or choose another path");
    }
    // Non-blocking: a listener whose queue is full would let us wait for ever, and says EAGAIN now.
    const descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const auto* const generic = reinterpret_cast<const sockaddr*>(&address);
    if (connect(probe.get(), generic, sizeof address) == 0 || errno == EAGAIN) {
        cannot_listen(socket, "another process is listening there; stop it first");
    }
    if (errno == EACCES) {
        cannot_listen(socket,
                      reason_of(errno) +
                          "; the socket there is another user's: remove it, if "
                          "nobody listens there any more");
    }
    if (errno != ECONNREFUSED) cannot_listen(socket, reason_of(errno));
    if (unlink(path.c_str()) != 0) {
        cannot_listen(socket, "a stale socket cannot be removed: " + reason_of(errno));
    }
}

using addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

// Of "PORT@HOST". Without a host AI_PASSIVE means all addresses, and 0 the loopback one.
addresses addresses_of(const std::string& socket, int family, const std::string& rest, int flags) {
    const auto at = rest.find('@');
    const std::string port = rest.substr(0, at);
    const std::string host = at == std::string::npos ? std::string{} : rest.substr(at + 1);
    addrinfo hints{};
    hints.ai_family = family;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags;
    addrinfo* list = nullptr;
    const int result =
        getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &list);
    if (result != 0) cannot_listen(socket, gai_strerror(result));
    return {list, freeaddrinfo};
}

// Binds for a moment, for the sake of the error message.
void make_room_for_address(const std::string& socket, int family, const std::string& rest) {
    const auto list = addresses_of(socket, family, rest, AI_PASSIVE);
    const descriptor probe(::socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (probe.get() < 0) cannot_listen(socket, reason_of(errno));
    const int yes = 1;
    setsockopt(probe.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(probe.get(), list->ai_addr, list->ai_addrlen) != 0) {
        cannot_listen(socket, reason_of(errno) + hint_about_address(errno));
    }
}

// systemd hands over the first socket as descriptor 3.
void expect_listener(const std::string& socket, const std::string& number) {
    const int fd = std::stoi(number);  // check_socket() has seen digits, few of them
    int listens = 0;
    socklen_t size = sizeof listens;
    if (fcntl(fd, F_GETFD) < 0) {
        cannot_listen(socket,
                      "no such descriptor was handed over; let systemd start it by "
                      "callforward-milter.socket, or set [milter] socket to another kind");
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) {
        cannot_listen(socket, "this descriptor is no socket that listens");
    }
}

}  // namespace

std::string unix_socket_path(const std::string& socket) {
    for (const std::string_view prefix : {"unix:", "local:"}) {
        if (socket.starts_with(prefix)) return socket.substr(prefix.size());
    }
    return {};
}

void make_room_for(const std::string& socket) {
    const std::string path = unix_socket_path(socket);
    if (!path.empty()) {
        make_room_for_path(socket, path);
    } else if (socket.starts_with("inet:")) {
        make_room_for_address(socket, AF_INET, socket.substr(5));
    } else if (socket.starts_with("inet6:")) {
        make_room_for_address(socket, AF_INET6, socket.substr(6));
    } else if (socket.starts_with("fd:")) {
        expect_listener(socket, socket.substr(3));
    }
}

int connect_to(const std::string& socket) {
    const auto connected = [](int family, const sockaddr* address, socklen_t size) {
        descriptor made(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (connect(made.get(), address, size) != 0) throw std::runtime_error(reason_of(errno));
        return made.release();
    };
    const std::string path = unix_socket_path(socket);
    if (!path.empty()) {
        const sockaddr_un address = address_of_path(socket, path);
        return connected(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    }
    const auto colon = socket.find(':');
    if (socket.starts_with("fd:")) {
        sockaddr_storage storage{};
        auto* const address = reinterpret_cast<sockaddr*>(&storage);
        socklen_t size = sizeof storage;
        if (getsockname(std::stoi(socket.substr(colon + 1)), address, &size) != 0) {
            throw std::runtime_error(reason_of(errno));
        }
        return connected(address->sa_family, address, size);
    }
    const int family = socket.starts_with("inet6:") ? AF_INET6 : AF_INET;
    const auto list = addresses_of(socket, family, socket.substr(colon + 1), 0);
    return connected(list->ai_family, list->ai_addr, list->ai_addrlen);
}

std::optional<gid_t> group_named(const std::string& name) {
    if (name.empty()) return std::nullopt;
    const struct group* const entry = getgrnam(name.c_str());  // start-up: one thread
    if (entry == nullptr) {
        throw config_error("[milter] socket_group: there is no group \"" + name + '"');
    }
    return entry->gr_gid;
}

int give_socket(const std::string& path, uid_t user, gid_t group) {
    const descriptor socket(open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat there {};
    if (socket.get() < 0 || fstat(socket.get(), &there) != 0) return errno;
    if (!S_ISSOCK(there.st_mode)) return ENOTSOCK;
    return fchownat(socket.get(), "", user, group, AT_EMPTY_PATH) == 0 ? 0 : errno;
}

void give_to_group(const std::string& path, gid_t group) {
    const int error = give_socket(path, static_cast<uid_t>(-1), group);
    if (error == 0) return;
    unlink(path.c_str());  // nobody shall find a socket that he may not use
    const std::string hint =
        error == EPERM ? "; leave it empty, and let the socket's folder hand on its group, as in "
                         "callforward-milter(8)"
                       : "";
    throw std::runtime_error("cannot give " + path +
                             " to the group of [milter] socket_group: " + reason_of(error) + hint);
}

}  // namespace callforward::milter
