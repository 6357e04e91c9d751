// The address of a unix socket. Nothing where the path is longer than one can be, 107 bytes.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <optional>
#include <string>

namespace callforward::milter {

[[nodiscard]] inline std::optional<sockaddr_un> unix_address(const std::string& path) {
    sockaddr_un address{};
    if (path.size() >= sizeof address.sun_path) return std::nullopt;
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, path.size());
    return address;
}

}  // namespace callforward::milter
