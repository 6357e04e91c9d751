#include "milter/fleet/byte_stream.h"

#include "dns/ip.h"
#include "smtpclient/printable.h"
#include "smtpclient/watchdog.h"

#include <asio/buffer.hpp>
#include <asio/generic/stream_protocol.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/redirect_error.hpp>
#include <asio/ssl.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#include <array>
#include <stdexcept>
#include <utility>

namespace callforward::milter::fleet {

namespace {

using stream_socket = asio::generic::stream_protocol::socket;
constexpr std::size_t read_size = 16384;

void use_file(const std::string& file, const std::error_code& ec) {
    if (ec) throw std::runtime_error(file + ": " + smtpclient::printable(ec.message(), 200));
}

}  // namespace

struct tls_files::implementation {
    asio::ssl::context context{asio::ssl::context::tls_client};
};

tls_files::tls_files(const store_address& at) : implementation_(new implementation) {
    asio::ssl::context& context = implementation_->context;
    SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
    SSL_CTX_set_options(context.native_handle(), SSL_OP_IGNORE_UNEXPECTED_EOF);
    context.set_verify_mode(asio::ssl::verify_peer);
    std::error_code ec;
    if (at.ca_file.empty()) {
        context.set_default_verify_paths(ec);
        use_file("the system's trust store", ec);
    } else {
        context.load_verify_file(at.ca_file, ec);
        use_file(at.ca_file, ec);
    }
    if (at.cert_file.empty()) return;
    context.use_certificate_chain_file(at.cert_file, ec);
    use_file(at.cert_file, ec);
    context.use_private_key_file(at.key_file, asio::ssl::context::pem, ec);
    use_file(at.key_file, ec);
}

tls_files::~tls_files() = default;

class byte_stream::sockets {
public:
    explicit sockets(const asio::any_io_executor& executor) : resolver(executor), clear(executor) {}

    asio::ip::tcp::resolver resolver;
    stream_socket clear;
    std::unique_ptr<asio::ssl::stream<stream_socket&>> tls;
};

byte_stream::byte_stream(asio::any_io_executor executor, tls_files* tls)
    : executor_(std::move(executor)), tls_(tls), sockets_(std::make_unique<sockets>(executor_)) {}

byte_stream::~byte_stream() = default;

asio::awaitable<std::string> byte_stream::open(store_host host,
                                               std::string socket_path,
                                               steady_time deadline) {
    smtpclient::watchdog dog(executor_, [this] { close(); });
    dog.arm(deadline);
    std::error_code ec;
    auto token = asio::redirect_error(asio::use_awaitable, ec);
    std::string failure;
    if (!socket_path.empty()) {
        const asio::generic::stream_protocol::endpoint there =
            asio::local::stream_protocol::endpoint(socket_path);
        co_await sockets_->clear.async_connect(there, token);
        if (ec) failure = "cannot connect: " + smtpclient::printable(ec.message(), 200);
    } else {
        failure = co_await connect(host);
        if (failure.empty() && tls_ != nullptr) failure = co_await shake_hands(host);
    }
    if (dog.expired()) failure = "no connection in time";
    co_return failure;
}

asio::awaitable<std::string> byte_stream::connect(const store_host& host) {
    std::error_code ec;
    auto token = asio::redirect_error(asio::use_awaitable, ec);
    const std::string port = std::to_string(host.port);
    // Asks on a thread of its own, so that a slow resolver does not hold up this loop.
    const auto found = co_await sockets_->resolver.async_resolve(host.name, port, token);
    if (ec) {
        co_return "cannot resolve the host's name: " + smtpclient::printable(ec.message(), 200);
    }
    std::string failure = "the host has no address";
    for (const auto& entry : found) {
        std::error_code ignored;
        sockets_->clear.close(ignored);
        const asio::generic::stream_protocol::endpoint there = entry.endpoint();
        co_await sockets_->clear.async_connect(there, token);
        if (!ec) {
            sockets_->clear.set_option(asio::ip::tcp::no_delay(true), ignored);
            co_return std::string();
        }
        failure = "cannot connect: " + smtpclient::printable(ec.message(), 200);
        if (ec == asio::error::operation_aborted) break;
    }
    co_return failure;
}

asio::awaitable<std::string> byte_stream::shake_hands(const store_host& host) {
    sockets_->tls = std::make_unique<asio::ssl::stream<stream_socket&>>(
        sockets_->clear, tls_->implementation_->context);
    auto& stream = *sockets_->tls;
    SSL* const native = stream.native_handle();
    if (dns::ip_address::parse(host.name)) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(native), host.name.c_str());
    } else {
        SSL_set1_host(native, host.name.c_str());
        // What the macro SSL_set_tlsext_host_name does, without its C cast.
        std::string name = host.name;
        SSL_ctrl(native, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data());
    }
    std::error_code ec;
    auto token = asio::redirect_error(asio::use_awaitable, ec);
    co_await stream.async_handshake(asio::ssl::stream_base::client, token);
    if (!ec) co_return std::string();
    const long verified = SSL_get_verify_result(native);
    const std::string why =
        verified == X509_V_OK ? ec.message() : X509_verify_cert_error_string(verified);
    co_return "no TLS: " + smtpclient::printable(why, 200);
}

asio::awaitable<std::string> byte_stream::read() {
    std::array<char, read_size> bytes;
    std::error_code ec;
    auto token = asio::redirect_error(asio::use_awaitable, ec);
    const auto buffer = asio::buffer(bytes);
    std::size_t count = 0;
    if (sockets_->tls) {
        count = co_await sockets_->tls->async_read_some(buffer, token);
    } else {
        count = co_await sockets_->clear.async_read_some(buffer, token);
    }
    if (count == 0) {
        const bool closed =
            !ec || ec == asio::error::eof || ec == asio::ssl::error::stream_truncated;
        why_ =
            closed ? "the server closed the connection" : smtpclient::printable(ec.message(), 200);
    }
    co_return std::string(bytes.data(), count);
}

asio::awaitable<bool> byte_stream::write(std::string bytes) {
    std::error_code ec;
    auto token = asio::redirect_error(asio::use_awaitable, ec);
    const auto buffer = asio::buffer(bytes);
    if (sockets_->tls) {
        co_await asio::async_write(*sockets_->tls, buffer, token);
    } else {
        co_await asio::async_write(sockets_->clear, buffer, token);
    }
    if (ec) why_ = smtpclient::printable(ec.message(), 200);
    co_return !ec;
}

void byte_stream::finish() {
    std::error_code ignored;
    sockets_->clear.shutdown(asio::socket_base::shutdown_both, ignored);
}

void byte_stream::close() {
    std::error_code ignored;
    sockets_->resolver.cancel();
    sockets_->clear.close(ignored);
}

}  // namespace callforward::milter::fleet
