// One byte stream to a next hop: TCP or a unix socket, in clear or under TLS. The only file that
// knows asio's TLS; what TLS has to prove is said in smtpclient/tls_context.h.
//
// One read and one write may be under way at the same time. Every operation takes a deadline, ends
// by it, and reports a failure as a value: nothing throws because of a peer. After any failure the
// connection is of no further use. Replies come through reply_parser, so what a peer can make us
// keep is bounded; has_unread() tells of bytes beyond the replies asked for, after which nothing
// may be believed. Owner and thread: one event loop thread; the connection outlives each operation
// it has begun.
#pragma once

#include "smtpclient/connection_count.h"
#include "smtpclient/question.h"
#include "smtpclient/reply.h"
#include "smtpclient/tls_context.h"
#include "smtpclient/verdict.h"
#include "smtpclient/watchdog.h"

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/generic/stream_protocol.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <variant>

namespace callforward::smtpclient {

using stream_socket = asio::generic::stream_protocol::socket;
using steady_time = std::chrono::steady_clock::time_point;

struct io_failure {
    smtpclient::reason reason =
        reason::disconnected;  // timed_out, disconnected, protocol_error, or of class insecure
    std::string why;           // printable
};

// How a handshake is made.
struct tls_setup {
    std::shared_ptr<const tls_context> context;
    tls_demand demand;
    std::shared_ptr<tls_sessions> sessions;  // may be nothing: none is resumed
};

class connection {
public:
    connection(stream_socket connected,
               smtpclient::trace observer,
               std::shared_ptr<const connection_place> place);
    ~connection();
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;

    [[nodiscard]] asio::awaitable<std::optional<io_failure>> write(std::string bytes,
                                                                   steady_time deadline);
    // As much of the bytes as can be written at once, and how much that was; the rest, and what
    // fails, is for write(). Under TLS nothing. Not told to the trace; not while write() is under
    // way.
    [[nodiscard]] std::size_t write_now(std::string_view bytes);
    [[nodiscard]] asio::awaitable<std::variant<reply, io_failure>> read_reply(steady_time deadline);
    // Fails also when the demand is not met: certificate, dane_failed.
    [[nodiscard]] asio::awaitable<std::optional<io_failure>> handshake(tls_setup how,
                                                                       steady_time deadline);
    // A new deadline for the read_reply() under way, in however many pieces its reply comes.
    void expect_reply_by(steady_time deadline);
    void close();
    // The lines so far, of which it keeps the first few while a session is opened; from then on it
    // tells and keeps none: several ask in one session, and each is told of its own lines.
    [[nodiscard]] dialogue_lines end_of_opening();
    // Bytes already here that no reply asked for explains, read or not: in clear also those that
    // the kernel still holds, under TLS those of further records that came with the last reply.
    [[nodiscard]] bool has_unread() const;
    [[nodiscard]] const std::optional<tls_summary>& tls() const { return tls_; }
    // After a handshake that failed: all is well with the certificate but its name.
    [[nodiscard]] bool is_wrong_name() const { return wrong_name_; }
    [[nodiscard]] asio::any_io_executor executor() { return socket_.get_executor(); }

private:
    class tls_stream;

    asio::awaitable<std::optional<io_failure>> read_some();
    [[nodiscard]] std::optional<io_failure> failure_of(const std::error_code& ec) const;
    void tell(char side, std::string_view lines) const;

    std::shared_ptr<const connection_place> place_;
    stream_socket socket_;
    watchdog read_watchdog_;
    watchdog write_watchdog_;
    std::unique_ptr<tls_stream> tls_stream_;  // nothing while in clear
    std::optional<tls_summary> tls_;
    // Owner's knowledge, not the peer's: what tell() leaves behind.
    mutable dialogue_lines opening_;
    bool is_opening_ = true;
    bool wrong_name_ = false;
    smtpclient::trace trace_;
    steady_time reply_by_;
    std::string unread_;
    reply_parser parser_;
};

}  // namespace callforward::smtpclient
