#include "tests/support/stream.h"

#include <openssl/err.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace callforward::testing {

namespace {

constexpr std::size_t longest_line = 65'536;

}  // namespace

std::string_view to_string(stream_status status) {
    switch (status) {
        case stream_status::ok:
            return "ok";
        case stream_status::closed:
            return "end of connection";
        case stream_status::failed:
            return "a broken connection";
        case stream_status::timed_out:
            return "nothing in time";
        case stream_status::woken:
            return "nothing until the server was stopped";
    }
    return {};
}

stream::stream(unique_fd socket, int wake) : socket_(std::move(socket)), wake_(wake) {
    static const auto once = ::signal(SIGPIPE, SIG_IGN);
    static_cast<void>(once);
}

stream_status stream::wait(short events) {
    std::array<pollfd, 2> waits{{{socket_.get(), events, 0}, {wake_, POLLIN, 0}}};
    for (;;) {
        int milliseconds = -1;
        if (deadline_ != clock::time_point::max()) {
            const auto left =
                std::chrono::ceil<std::chrono::milliseconds>(deadline_ - clock::now()).count();
            milliseconds = static_cast<int>(std::clamp<long long>(left, 0, 3'600'000));
        }
        const int ready = ::poll(waits.data(), waits.size(), milliseconds);
        if (ready < 0 && errno == EINTR) continue;
        if (ready < 0) return stream_status::failed;
        if (waits[1].revents != 0) return stream_status::woken;
        if (ready == 0) return stream_status::timed_out;
        return stream_status::ok;
    }
}

stream_status stream::after_tls(int result) {
    switch (SSL_get_error(tls_.get(), result)) {
        case SSL_ERROR_WANT_READ:
            return wait(POLLIN);
        case SSL_ERROR_WANT_WRITE:
            return wait(POLLOUT);
        case SSL_ERROR_ZERO_RETURN:
        case SSL_ERROR_SYSCALL:
            return stream_status::closed;
        default:
            break;
    }
    const bool truncated = ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    return truncated ? stream_status::closed : stream_status::failed;
}

stream_status stream::fill() {
    std::array<char, 16384> bytes{};
    for (;;) {
        stream_status status = stream_status::ok;
        if (tls_) {
            ERR_clear_error();
            const int n = SSL_read(tls_.get(), bytes.data(), static_cast<int>(bytes.size()));
            if (n > 0) {
                buffer_.append(bytes.data(), static_cast<std::size_t>(n));
                return stream_status::ok;
            }
            status = after_tls(n);
        } else {
            const ssize_t n = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
            if (n > 0) {
                buffer_.append(bytes.data(), static_cast<std::size_t>(n));
                return stream_status::ok;
            }
            if (n == 0 || errno == ECONNRESET || errno == EPIPE) return stream_status::closed;
            if (errno != EAGAIN && errno != EINTR) return stream_status::failed;
            status = wait(POLLIN);
        }
        if (status != stream_status::ok) return status;
    }
}

stream_status stream::read_line(std::string& line) {
    line.clear();
    for (;;) {
        const auto end = buffer_.find('\n');
        if (end != std::string::npos) {
            line = buffer_.substr(0, end + 1);
            buffer_.erase(0, end + 1);
            return stream_status::ok;
        }
        if (buffer_.size() > longest_line) return stream_status::failed;
        const auto status = fill();
        if (status != stream_status::ok) {
            line = buffer_;
            return status;
        }
    }
}

stream_status stream::read(std::size_t size, std::string& bytes) {
    while (buffer_.size() < size) {
        const auto status = fill();
        if (status != stream_status::ok) return status;
    }
    bytes = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return stream_status::ok;
}

stream_status stream::skip() {
    const auto status = buffer_.empty() ? fill() : stream_status::ok;
    buffer_.clear();
    return status;
}

stream_status stream::drain() {
    for (;;) {
        const auto status = skip();
        if (status != stream_status::ok) return status;
    }
}

stream_status stream::write(std::string_view bytes) {
    while (!bytes.empty()) {
        stream_status status = stream_status::ok;
        if (tls_) {
            ERR_clear_error();
            const int n = SSL_write(tls_.get(), bytes.data(), static_cast<int>(bytes.size()));
            if (n > 0) {
                bytes.remove_prefix(static_cast<std::size_t>(n));
                continue;
            }
            status = after_tls(n);
        } else {
            const ssize_t n = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (n > 0) {
                bytes.remove_prefix(static_cast<std::size_t>(n));
                continue;
            }
            if (errno == EPIPE || errno == ECONNRESET) return stream_status::closed;
            if (errno != EAGAIN && errno != EINTR) return stream_status::failed;
            status = wait(POLLOUT);
        }
        if (status != stream_status::ok) return status;
    }
    return stream_status::ok;
}

stream_status stream::handshake(SSL_CTX* context, bool server, const std::string& name) {
    tls_.reset(SSL_new(context));
    if (!tls_ || SSL_set_fd(tls_.get(), socket_.get()) != 1) return stream_status::failed;
    // A write that has to be repeated may then come from another buffer.
    SSL_set_mode(tls_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (!name.empty()) {
        // SSL_set_tlsext_host_name() is a macro of old-style casts around this.
        std::string copy = name;
        SSL_ctrl(tls_.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, copy.data());
        SSL_set1_host(tls_.get(), name.c_str());
    }
    for (;;) {
        ERR_clear_error();
        const int done = server ? SSL_accept(tls_.get()) : SSL_connect(tls_.get());
        if (done == 1) return stream_status::ok;
        const auto status = after_tls(done);
        if (status != stream_status::ok) return status;
    }
}

stream_status stream::accept_tls(SSL_CTX* context) {
    return handshake(context, true, {});
}

stream_status stream::connect_tls(SSL_CTX* context, const std::string& name) {
    return handshake(context, false, name);
}

bool stream::is_resumed() const {
    return tls_ && SSL_session_reused(tls_.get()) == 1;
}

std::string stream::server_name() const {
    const char* name = tls_ ? SSL_get_servername(tls_.get(), TLSEXT_NAMETYPE_host_name) : nullptr;
    return name != nullptr ? name : "";
}

void stream::close_notify() {
    ERR_clear_error();
    if (tls_ && SSL_is_init_finished(tls_.get()) == 1) SSL_shutdown(tls_.get());
}

void stream::shut_writing() {
    ::shutdown(socket_.get(), SHUT_WR);
}

unique_fd stream::release() {
    tls_.reset();
    return std::move(socket_);
}

}  // namespace callforward::testing
