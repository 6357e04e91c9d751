// A server on the loopback that treats each connection as a function says, one after the other, and
// counts them; and a port where connections are never answered.
//
// For what no script can write down: bytes that come slowly, or for ever.
#pragma once

#include "tests/support/socket.h"
#include "tests/support/stream.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace callforward::testing {

class misbehaving_server {
public:
    // Waits so long; false when the server is to stop.
    using pause = std::function<bool(std::chrono::milliseconds)>;
    using behaviour = std::function<void(stream&, const pause&)>;

    explicit misbehaving_server(behaviour how, const std::string& listen = "127.0.0.1:0");
    ~misbehaving_server();
    misbehaving_server(const misbehaving_server&) = delete;
    misbehaving_server& operator=(const misbehaving_server&) = delete;

    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] std::size_t connections() const { return connections_; }

private:
    void run();

    behaviour how_;
    unique_fd listener_;
    std::uint16_t port_;
    unique_fd wake_;
    std::atomic<std::size_t> connections_{0};
    std::thread thread_;
};

// Behaviours.
void hang_up(stream& peer, const misbehaving_server::pause& wait);
// The bytes for ever, one each `every`, after `beginning` in one go.
[[nodiscard]] misbehaving_server::behaviour drip(std::string beginning,
                                                 std::string for_ever,
                                                 std::chrono::milliseconds every);
// Answers each command with the next of the replies, the last of which is dripped for ever.
[[nodiscard]] misbehaving_server::behaviour answer_then_drip(std::vector<std::string> replies,
                                                             std::string for_ever,
                                                             std::chrono::milliseconds every);

// A listening socket whose queue is full: the kernel drops every further SYN.
class black_hole {
public:
    explicit black_hole(const std::string& listen = "127.0.0.1:0");
    [[nodiscard]] std::uint16_t port() const { return local_port(listener_); }

private:
    unique_fd listener_;
    std::vector<unique_fd> waiting_;
};

}  // namespace callforward::testing
