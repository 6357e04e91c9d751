#include "smtpclient/connection.h"

#include "smtpclient/printable.h"

#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <asio/redirect_error.hpp>
#include <asio/ssl.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#include <array>

namespace callforward::smtpclient {

namespace {

constexpr std::size_t read_size = 4096;

int protocol_number(tls_version version) {
    switch (version) {
        case tls_version::tls1_0:
            return TLS1_VERSION;
        case tls_version::tls1_1:
            return TLS1_1_VERSION;
        case tls_version::tls1_2:
            return TLS1_2_VERSION;
        case tls_version::tls1_3:
            return TLS1_3_VERSION;
    }
    return TLS1_2_VERSION;
}

}  // namespace

class tls_context::implementation {
public:
    explicit implementation(tls_version least) : context(asio::ssl::context::tls_client) {
        SSL_CTX* const native = context.native_handle();
        SSL_CTX_set_min_proto_version(native, protocol_number(least));
        // Without verification a weak certificate or key exchange still beats sending in clear.
        SSL_CTX_set_cipher_list(native, "DEFAULT:@SECLEVEL=0");
        // Many servers close without close_notify; what was read before stays good.
        SSL_CTX_set_options(native, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
        context.set_verify_mode(asio::ssl::verify_none);
    }

    asio::ssl::context context;
};

tls_context::tls_context(tls_version least)
    : implementation_(std::make_unique<implementation>(least)) {}

tls_context::~tls_context() = default;

class connection::tls_stream {
public:
    tls_stream(stream_socket& socket, asio::ssl::context& context) : stream(socket, context) {}

    asio::ssl::stream<stream_socket&> stream;
};

connection::connection(stream_socket connected, smtpclient::trace observer)
    : socket_(std::move(connected)),
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

asio::awaitable<std::optional<io_failure>> connection::read_some(steady_time deadline) {
    std::array<char, read_size> bytes;
    std::error_code ec;
    auto token = asio::redirect_error(asio::use_awaitable, ec);
    const auto buffer = asio::buffer(bytes);
    std::size_t count = 0;
    read_watchdog_.arm(deadline);
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
    for (;;) {
        std::string_view input = unread_;
        const auto progress = parser_.feed(input);
        unread_.erase(0, unread_.size() - input.size());
        if (progress == reply_parser::progress::malformed) {
            tell('*', parser_.why());
            co_return io_failure{reason::protocol_error, parser_.why()};
        }
        if (progress == reply_parser::progress::complete) break;
        auto failure = co_await read_some(deadline);
        if (failure) co_return std::move(*failure);
    }
    reply r = parser_.take();
    if (trace_) {
        for (const auto& line : r.lines) {
            const bool last = &line == &r.lines.back();
            trace_('S', std::to_string(r.code) + (last ? ' ' : '-') + line);
        }
    }
    co_return r;
}

asio::awaitable<std::optional<io_failure>> connection::handshake(tls_context& context,
                                                                 std::string server_name,
                                                                 steady_time deadline) {
    tls_stream_ = std::make_unique<tls_stream>(socket_, context.implementation_->context);
    auto& stream = tls_stream_->stream;
    if (!server_name.empty()) {
        // What the macro SSL_set_tlsext_host_name does, without its C cast.
        SSL_ctrl(stream.native_handle(),
                 SSL_CTRL_SET_TLSEXT_HOSTNAME,
                 TLSEXT_NAMETYPE_host_name,
                 server_name.data());
    }
    std::error_code ec;
    auto token = asio::redirect_error(asio::use_awaitable, ec);
    read_watchdog_.arm(deadline);
    co_await stream.async_handshake(asio::ssl::stream_base::client, token);
    read_watchdog_.disarm();
    if (ec || read_watchdog_.expired()) {
        const std::string why =
            read_watchdog_.expired() ? "no answer in time" : printable(ec.message());
        tell('*', "TLS handshake failed: " + why);
        co_return io_failure{reason::tls_failed, "TLS handshake failed: " + why};
    }
    SSL* const native = stream.native_handle();
    tls_ = tls_summary{SSL_get_version(native), SSL_get_cipher_name(native), false, {}};
    tell('*', "TLS " + tls_->version + ' ' + tls_->cipher);
    co_return std::nullopt;
}

void connection::close() {
    std::error_code ignored;
    socket_.close(ignored);
}

void connection::tell(char side, std::string_view lines) const {
    if (!trace_) return;
    while (!lines.empty()) {
        const auto end = lines.find("\r\n");
        trace_(side, lines.substr(0, end));
        lines = end == std::string_view::npos ? std::string_view{} : lines.substr(end + 2);
    }
}

}  // namespace callforward::smtpclient
