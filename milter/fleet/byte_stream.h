// The bytes between us and a shared store: TCP or a unix socket, in clear or under TLS.
//
// Under TLS the certificate is verified, against the system's trust store or ca_file, and so is the
// host's name or address. open() tries all addresses of the host one after another, until the
// deadline; a failure is a value, printable. One read and one write may be under way at the same
// time; close() ends both. Owner: one redis_connection, on one event loop thread, which outlives
// the operations begun.
#pragma once

#include "milter/fleet/store_address.h"

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace callforward::milter::fleet {

using steady_time = std::chrono::steady_clock::time_point;

// Certificates and trust of one store, read when made. Shared by its connections.
class tls_files {
public:
    // Throws std::runtime_error, naming the file, when one cannot be used.
    explicit tls_files(const store_address& at);
    ~tls_files();
    tls_files(const tls_files&) = delete;
    tls_files& operator=(const tls_files&) = delete;

private:
    friend class byte_stream;
    struct implementation;
    std::unique_ptr<implementation> implementation_;
};

class byte_stream {
public:
    // tls: nothing for a connection in clear; must outlive the stream.
    byte_stream(asio::any_io_executor executor, tls_files* tls);
    ~byte_stream();
    byte_stream(const byte_stream&) = delete;
    byte_stream& operator=(const byte_stream&) = delete;

    // socket_path: instead of the host, unless "". "" when connected, else why not.
    [[nodiscard]] asio::awaitable<std::string> open(store_host host,
                                                    std::string socket_path,
                                                    steady_time deadline);
    // "" after the end, or a failure; then why() says which.
    [[nodiscard]] asio::awaitable<std::string> read();
    [[nodiscard]] asio::awaitable<bool> write(std::string bytes);
    // Nothing more goes or comes; what has come already can still be read.
    void finish();
    void close();
    [[nodiscard]] const std::string& why() const { return why_; }

private:
    class sockets;
    [[nodiscard]] asio::awaitable<std::string> connect(const store_host& host);
    [[nodiscard]] asio::awaitable<std::string> shake_hands(const store_host& host);

    asio::any_io_executor executor_;
    tls_files* tls_;
    std::unique_ptr<sockets> sockets_;
    std::string why_;
};

}  // namespace callforward::milter::fleet
