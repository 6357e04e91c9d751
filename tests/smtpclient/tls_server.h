// A next hop that speaks SMTP and TLS, connection after connection, and does its TLS well or ill.
//
// It accepts every recipient. Thread: one of its own; the context must outlive it.
#pragma once

#include "tests/smtpclient/misbehaving_server.h"
#include "tests/support/certificates.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace callforward::testing {

struct tls_behaviour {
    enum class at_starttls { shake_hands, answer_garbage, stall, inject };

    bool offers = true;
    std::string reply = "220 2.0.0 go ahead";  // to STARTTLS
    at_starttls then = at_starttls::shake_hands;
    certificate identity;
    int only_version = 0;          // see server_context()
    std::string client_authority;  // PEM: clients need a certificate of this CA
};

class tls_server {
public:
    explicit tls_server(const tls_behaviour& how, const std::string& listen = "127.0.0.2:0");

    [[nodiscard]] std::uint16_t port() const { return server_->port(); }
    [[nodiscard]] std::size_t connections() const { return server_->connections(); }
    [[nodiscard]] std::size_t handshakes() const { return handshakes_; }
    [[nodiscard]] std::size_t resumed() const { return resumed_; }
    [[nodiscard]] std::vector<std::string> server_names() const;
    // "MAIL" or "RCPT" that came in clear.
    [[nodiscard]] std::size_t mail_in_clear() const { return mail_in_clear_; }

private:
    void serve(stream& peer, const misbehaving_server::pause& wait);
    [[nodiscard]] bool start_tls(stream& peer, const misbehaving_server::pause& wait);

    tls_behaviour how_;
    ssl_context context_;
    std::atomic<std::size_t> handshakes_{0};
    std::atomic<std::size_t> resumed_{0};
    std::atomic<std::size_t> mail_in_clear_{0};
    mutable std::mutex mutex_;
    std::vector<std::string> names_;
    std::unique_ptr<misbehaving_server> server_;  // last: its thread uses the rest
};

}  // namespace callforward::testing
