#include "smtpclient/connection.h"

#include "smtpclient/handshake_counts.h"
#include "smtpclient/printable.h"

#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <asio/redirect_error.hpp>
#include <asio/ssl.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>
#include <sys/socket.h>

#include <array>
#include <utility>

namespace callforward::smtpclient {

namespace {

constexpr std::size_t read_size = 4096;

}  // namespace

class connection::tls_stream {
public:
    tls_stream(stream_socket& socket, tls_setup how)
        : context(std::move(how.context)),
          handshake(*context, std::move(how.demand), std::move(how.sessions)),
          stream(socket, handshake.native_for_stream()) {}

    std::shared_ptr<const tls_context> context;
    tls_handshake handshake;
    asio::ssl::stream<stream_socket&> stream;
};

connection::connection(stream_socket connected,
                       smtpclient::trace observer,
                       std::shared_ptr<const connection_place> place)
    : place_(std::move(place)),
      socket_(std::move(connected)),
      read_watchdog_(socket_.get_executor(), [this] { close(); }),
      write_watchdog_(socket_.get_executor(), [this] { close(); }),
      trace_(std::move(observer)) {}

connection::~connection() = default;

bool connection::has_unread() const {
    if (!unread_.empty()) return true;
    if (!tls_stream_) {
        std::error_code ignored;
        return socket_.available(ignored) > 0;
    }
    // Peeking takes in session tickets, which are no bytes of the peer's, and leaves the rest.
    ERR_clear_error();
    char byte = 0;
    return SSL_peek(tls_stream_->stream.native_handle(), &byte, 1) > 0;
}

std::optional<io_failure> connection::failure_of(const std::error_code& ec) const {
    if (read_watchdog_.expired() || write_watchdog_.expired()) {
        return io_failure{reason::timed_out, "no answer in time"};
    }
    if (!ec) return std::nullopt;
    if (ec == asio::error::eof) {
        return io_failure{reason::disconnected, "the next hop closed the connection"};
    }
    return io_failure{reason::disconnected, printable(ec.message(), 200)};
}

asio::awaitable<std::optional<io_failure>> connection::write(std::string bytes,
                                                             steady_time deadline) {
    tell('C', bytes);
    std::error_code ec;
    auto token = asio::redirect_error(asio::use_awaitable, ec);
    const auto buffer = asio::buffer(bytes);
    write_watchdog_.arm(deadline);
    if (tls_stream_) {
        co_await asio::async_write(tls_stream_->stream, buffer, token);
    } else {
        co_await asio::async_write(socket_, buffer, token);
    }
    write_watchdog_.disarm();
    co_return failure_of(ec);
}

std::size_t connection::write_now(std::string_view bytes) {
    if (tls_stream_) return 0;
    const auto count =
        send(socket_.native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return count < 0 ? 0 : static_cast<std::size_t>(count);
}

void connection::expect_reply_by(steady_time deadline) {
    reply_by_ = deadline;
    read_watchdog_.arm(deadline);
}

asio::awaitable<std::optional<io_failure>> connection::read_some() {
    std::array<char, read_size> bytes;
    std::error_code ec;
    auto token = asio::redirect_error(asio::use_awaitable, ec);
    const auto buffer = asio::buffer(bytes);
    std::size_t count = 0;
    read_watchdog_.arm(reply_by_);
    if (tls_stream_) {
        count = co_await tls_stream_->stream.async_read_some(buffer, token);
    } else {
        count = co_await socket_.async_read_some(buffer, token);
    }
    read_watchdog_.disarm();
    unread_.append(bytes.data(), count);
    if (count > 0) co_return std::nullopt;
    co_return failure_of(ec ? ec : std::error_code(asio::error::eof));
}

asio::awaitable<std::variant<reply, io_failure>> connection::read_reply(steady_time deadline) {
    reply_by_ = deadline;
    for (;;) {
        std::string_view input = unread_;
        const auto progress = parser_.feed(input);
        unread_.erase(0, unread_.size() - input.size());
        if (progress == reply_parser::progress::malformed) {
            tell('*', parser_.why());
            co_return io_failure{reason::protocol_error, parser_.why()};
        }
        if (progress == reply_parser::progress::complete) break;
        auto failure = co_await read_some();
        if (failure) co_return std::move(*failure);
    }
    reply r = parser_.take();
    if (trace_ || is_opening_) {
        for (const auto& line : r.lines) {
            const bool last = &line == &r.lines.back();
            tell('S', std::to_string(r.code) + (last ? ' ' : '-') + line);
        }
    }
    co_return r;
}

asio::awaitable<std::optional<io_failure>> connection::handshake(tls_setup how,
                                                                 steady_time deadline) {
    tls_stream_ = std::make_unique<tls_stream>(socket_, std::move(how));
    std::error_code ec;
    auto token = asio::redirect_error(asio::use_awaitable, ec);
    read_watchdog_.arm(deadline);
    co_await tls_stream_->stream.async_handshake(asio::ssl::stream_base::client, token);
    read_watchdog_.disarm();
    if (ec || read_watchdog_.expired()) {
        const std::string why =
            read_watchdog_.expired() ? "no answer in time" : printable(ec.message());
        tell('*', "TLS handshake failed: " + why);
        handshake_counts::of_process().count({}, false);
        co_return io_failure{reason::tls_failed, "TLS handshake failed: " + why};
    }
    auto made = tls_stream_->handshake.judge();
    tls_ = made.summary;
    wrong_name_ = made.wrong_name;
    handshake_counts::of_process().count(tls_->version, made.fault.empty());
    const std::string proven = tls_->verified ? ", verified by " + tls_->by : std::string{};
    tell('*',
         "TLS " + tls_->version + ' ' + tls_->cipher + proven + (made.resumed ? ", resumed" : ""));
    if (!tls_->unproven.empty()) tell('*', "only watched, and let pass: " + tls_->unproven);
    if (made.fault.empty()) co_return std::nullopt;
    tell('*', made.fault);
    co_return io_failure{made.reason, std::move(made.fault)};
}

dialogue_lines connection::end_of_opening() {
    is_opening_ = false;
    trace_ = {};
    return std::exchange(opening_, {});
}

void connection::close() {
    std::error_code ignored;
    socket_.close(ignored);
    place_.reset();
}

void connection::tell(char side, std::string_view lines) const {
    constexpr std::size_t most_lines = 100;
    constexpr std::size_t longest_line = 4096;  // whole: secrets are still to be taken out
    if (!trace_ && !is_opening_) return;
    while (!lines.empty()) {
        const auto end = lines.find("\r\n");
        const std::string_view line = lines.substr(0, end);
        if (trace_) trace_(side, line);
        if (is_opening_ && opening_.size() < most_lines) {
            opening_.emplace_back(side, line.substr(0, longest_line));
        }
        lines = end == std::string_view::npos ? std::string_view{} : lines.substr(end + 2);
    }
}

}  // namespace callforward::smtpclient
