// One connection, plain or under TLS, read and written with a bound in time: nothing here can hang
// a test.
//
// Every operation ends at the deadline set last, or as soon as the wake descriptor (a server's stop
// signal, may be -1) becomes readable. Not thread-safe. The first stream made sets SIGPIPE to be
// ignored in this process, because OpenSSL writes with write(2). A line longer than 64 KiB ends
// reading as failed.
#pragma once

#include "tests/support/socket.h"

#include <openssl/ssl.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace callforward::testing {

enum class stream_status {
    ok,
    closed,     // the peer ended the connection, by FIN, close_notify or RST
    failed,     // TLS or the peer misbehaves
    timed_out,  // the deadline
    woken,      // the wake descriptor
};
[[nodiscard]] std::string_view to_string(stream_status status);

class stream {
public:
    using clock = std::chrono::steady_clock;

    explicit stream(unique_fd socket, int wake = -1);

    void expires_after(std::chrono::milliseconds time) { deadline_ = clock::now() + time; }

    // A line with its line end, whatever that is; the rest stays buffered. At end of connection
    // what was left is in line.
    [[nodiscard]] stream_status read_line(std::string& line);
    // Exactly so many bytes.
    [[nodiscard]] stream_status read(std::size_t size, std::string& bytes);
    // Reads something, whatever it is, and forgets it.
    [[nodiscard]] stream_status skip();
    // Reads and forgets until the peer has gone.
    [[nodiscard]] stream_status drain();
    [[nodiscard]] stream_status write(std::string_view bytes);

    // The handshakes. name: SNI, and checked against the certificate if the context verifies at
    // all.
    [[nodiscard]] stream_status accept_tls(SSL_CTX* context);
    [[nodiscard]] stream_status connect_tls(SSL_CTX* context, const std::string& name);
    [[nodiscard]] bool is_tls() const { return tls_ != nullptr; }
    [[nodiscard]] bool is_resumed() const;
    [[nodiscard]] std::string server_name()
        const;  // what the client of accept_tls() asked for by SNI

    [[nodiscard]] const std::string& unread() const { return buffer_; }
    [[nodiscard]] int descriptor() const { return socket_.get(); }

    void close_notify();  // sends it and waits for nothing
    void shut_writing();  // FIN, without close_notify
    void close() { release().reset(); }
    [[nodiscard]] unique_fd release();  // without TLS and without any closing

private:
    struct free_ssl {
        void operator()(SSL* ssl) const { SSL_free(ssl); }
    };
    [[nodiscard]] stream_status wait(short events);
    [[nodiscard]] stream_status fill();
    [[nodiscard]] stream_status handshake(SSL_CTX* context, bool server, const std::string& name);
    [[nodiscard]] stream_status after_tls(int result);

    unique_fd socket_;
    int wake_;
    clock::time_point deadline_ = clock::time_point::max();
    std::string buffer_;
    std::unique_ptr<SSL, free_ssl> tls_;
};

}  // namespace callforward::testing
