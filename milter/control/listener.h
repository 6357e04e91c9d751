// Listening sockets for the control socket and the metrics: made, with the rights they need.
//
// Errors are std::runtime_error, one sentence for the operator. Start-up only.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace callforward::milter::control {

class listener {  // owns a listening descriptor, and the path of a unix socket
public:
    // A stale socket is replaced; one that somebody answers at, or anything that is no socket, is
    // left alone. Mode 0660, and owner's if given.
    struct account {
        uid_t user = 0;
        gid_t group = 0;
    };
    [[nodiscard]] static listener at_path(const std::string& path,
                                          const std::optional<account>& owner);
    // "127.0.0.1:9589", "[::1]:9589"; port 0 is any free one.
    [[nodiscard]] static listener at_address(const std::string& address);

    listener(listener&& other) noexcept;
    listener(const listener&) = delete;
    listener& operator=(const listener&) = delete;
    listener& operator=(listener&& other) noexcept;
    ~listener();  // closes; the path is left to remove_path()

    [[nodiscard]] int descriptor() const { return descriptor_; }
    [[nodiscard]] std::uint16_t port() const;  // 0 for a path
    void remove_path() const;

private:
    listener(int descriptor, std::string path);

    int descriptor_;
    std::string path_;
};

}  // namespace callforward::milter::control
