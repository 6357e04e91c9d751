// Plays one script as a real SMTP server on the loopback, connection after connection, on a thread
// of its own.
//
// Each step is bounded by step_time, so that no test hangs whatever the client does. At the first
// thing the script does not allow, the mismatch is noted and the connection closed. After the last
// step of a connection (NEXT, or the end) a QUIT is answered and the client's leaving awaited; a
// new connection ends that wait. A connection for which the script has no steps is closed at once
// and noted. What was recorded may be read at any time, but is complete only after stop(). CLOSE
// sends FIN without close_notify; the end of a script says close_notify first.
#pragma once

#include "tests/support/certificates.h"
#include "tests/support/script.h"
#include "tests/support/socket.h"
#include "tests/support/stream.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace callforward::testing {

struct script_server_options {
    std::string listen = "127.0.0.1:0";  // see socket.h
    std::chrono::milliseconds step_time{60000};
    bool byte_by_byte =
        false;  // every byte of the server in a segment (under TLS: a record) of its own
    // Close after so many steps, counted over the whole script. Whoever connects again then gets
    // the same connection's steps again, cut at the same place, so that a client's second try meets
    // the same end.
    std::optional<std::size_t> cut_after;
    // Extra bytes after so many steps; after an S: step in one segment with its bytes.
    struct injection {
        std::size_t after = 0;
        std::string bytes;
    };
    std::optional<injection> inject;
    std::optional<certificate> identity;  // made for "mx.next.test" when not given
    int only_tls_version = 0;             // see server_context()
};

class script_server {
public:
    explicit script_server(testing::script script, script_server_options options = {});
    ~script_server();
    script_server(const script_server&) = delete;
    script_server& operator=(const script_server&) = delete;

    [[nodiscard]] std::uint16_t port() const { return local_port(listener_); }
    [[nodiscard]] std::string address() const { return local_address(listener_); }

    // Ends the thread within milliseconds, wherever the script is. Called once more, it does
    // nothing.
    void stop();

    [[nodiscard]] std::vector<std::string> client_lines()
        const;  // without line ends, of all connections
    [[nodiscard]] std::vector<std::string> mismatches()
        const;  // "x.smtp:7: expected "C: QUIT", got ..."
    [[nodiscard]] std::vector<std::string> server_names() const;  // SNI of each handshake
    [[nodiscard]] std::size_t connections() const;
    [[nodiscard]] std::size_t handshakes() const;  // completed ones
    [[nodiscard]] bool finished() const;           // every step has been played

private:
    void run();
    void play_connection(stream& peer);
    [[nodiscard]] bool play(const script_step& step,
                            stream& peer);  // false: the connection is over
    [[nodiscard]] bool expect_line(const script_step& step, stream& peer);
    [[nodiscard]] bool handshake(const script_step& step, stream& peer);
    [[nodiscard]] bool flush(stream& peer);
    [[nodiscard]] stream_status send(stream& peer, std::string_view bytes);
    void await_leaving(stream& peer);
    void retire(stream& peer);
    void note_line(std::string_view line);
    void note_mismatch(const script_step* step, std::string_view got);

    testing::script script_;
    script_server_options options_;
    ssl_context tls_;
    unique_fd listener_;
    unique_fd wake_;                  // an eventfd, readable from stop() on
    std::size_t at_ = 0;              // the next step
    std::string output_;              // of S: steps, until a step that is none
    std::vector<unique_fd> retired_;  // closed towards the client, which may not have left yet

    struct records {
        std::vector<std::string> lines;
        std::vector<std::string> mismatches;
        std::vector<std::string> server_names;
        std::size_t connections = 0;
        std::size_t handshakes = 0;
        bool finished = false;
    };
    mutable std::mutex mutex_;
    records records_;  // guarded by mutex_
    std::thread thread_;
};

}  // namespace callforward::testing
