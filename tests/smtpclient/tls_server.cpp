#include "tests/smtpclient/tls_server.h"

#include <chrono>

namespace callforward::testing {

using namespace std::chrono_literals;

namespace {

void demand_certificates(SSL_CTX* context, const std::string& authority) {
    const auto trusting = client_context(authority);
    X509_STORE* const store = SSL_CTX_get_cert_store(trusting.get());
    SSL_CTX_set1_verify_cert_store(context, store);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
}

}  // namespace

tls_server::tls_server(const tls_behaviour& how, const std::string& listen)
    : how_(how), context_(server_context(how.identity, how.only_version)) {
    if (!how_.client_authority.empty()) demand_certificates(context_.get(), how_.client_authority);
    server_ = std::make_unique<misbehaving_server>(
        [this](stream& peer, const misbehaving_server::pause& wait) { serve(peer, wait); }, listen);
}

std::vector<std::string> tls_server::server_names() const {
    const std::lock_guard hold(mutex_);
    return names_;
}

bool tls_server::start_tls(stream& peer, const misbehaving_server::pause& wait) {
    std::string reply = how_.reply + "\r\n";
    const bool agreed = reply.starts_with("220");
    if (how_.then == tls_behaviour::at_starttls::inject) reply += "250 mx.next.test\r\n";
    if (peer.write(reply) != stream_status::ok) return false;
    if (!agreed) return true;
    switch (how_.then) {
        case tls_behaviour::at_starttls::shake_hands:
        case tls_behaviour::at_starttls::inject:
            break;
        case tls_behaviour::at_starttls::answer_garbage:
            (void)peer.skip();
            (void)peer.write("this is no ServerHello\r\n");
            return false;
        case tls_behaviour::at_starttls::stall:
            (void)peer.drain();
            (void)wait(0ms);
            return false;
    }
    if (peer.accept_tls(context_.get()) != stream_status::ok) return false;
    ++handshakes_;
    if (peer.is_resumed()) ++resumed_;
    const std::lock_guard hold(mutex_);
    names_.push_back(peer.server_name());
    return true;
}

void tls_server::serve(stream& peer, const misbehaving_server::pause& wait) {
    peer.expires_after(60s);
    if (peer.write("220 mx.next.test\r\n") != stream_status::ok) return;
    std::string line;
    while (peer.read_line(line) == stream_status::ok) {
        std::string reply = "250 2.0.0 ok\r\n";
        if (line.starts_with("STARTTLS")) {
            if (!start_tls(peer, wait)) return;
            continue;
        }
        if (line.starts_with("EHLO") && how_.offers && !peer.is_tls())
            reply = "250-mx.next.test\r\n250 STARTTLS\r\n";
        const bool is_mail = line.starts_with("MAIL") || line.starts_with("RCPT");
        if (is_mail && !peer.is_tls()) ++mail_in_clear_;
        if (line.starts_with("QUIT")) reply = "221 bye\r\n";
        if (peer.write(reply) != stream_status::ok || line.starts_with("QUIT")) break;
    }
    if (peer.is_tls()) peer.close_notify();
}

}  // namespace callforward::testing
