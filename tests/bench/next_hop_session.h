// The next hop's side of one SMTP session, as a value: bytes in, bytes out, no socket, no clock.
//
// Answers all complete commands that came together with one string, so that pipelined commands are
// answered together. Knows EHLO, HELO, STARTTLS, MAIL, RCPT, RSET, NOOP and QUIT; a RCPT without
// MAIL, an unknown command or DATA gets 503 and is counted: whoever pipelines must not lose count.
// TLS runs over memory BIOs and comes out as bytes like everything else.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace callforward::bench {

struct free_ssl {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    void operator()(SSL* ssl) const { SSL_free(ssl); }
};
using ssl_context = std::unique_ptr<SSL_CTX, free_ssl>;
[[nodiscard]] ssl_context server_context(const std::string& certificate, const std::string& key);

struct session_settings {
    ssl_context tls;  // STARTTLS is offered when there is one
    bool pipelining = true;
};

struct session_counters {
    std::uint64_t recipients = 0;
    std::uint64_t refused = 0;
    std::uint64_t handshakes = 0;
    std::uint64_t bad_commands = 0;
};

class session {
public:
    session(const session_settings& settings, session_counters& counters)
        : settings_(settings), counters_(counters) {}

    [[nodiscard]] std::string greeting() const { return "220 hop.test ESMTP\r\n"; }
    // What is to be sent for it; may be empty.
    [[nodiscard]] std::string received(std::string_view bytes);
    [[nodiscard]] unsigned recipients() const { return recipients_; }
    [[nodiscard]] bool ended() const { return ended_; }  // close when all is sent
    void end() { ended_ = true; }

private:
    void answer_lines(std::string& replies);
    void answer(std::string_view line, std::string& replies);
    void recipient(std::string_view line, std::string& replies);
    void ehlo(std::string& replies) const;
    std::string through_tls(std::string_view bytes);
    void begin_tls();

    const session_settings& settings_;
    session_counters& counters_;
    std::string input_;
    std::unique_ptr<SSL, free_ssl> ssl_;
    unsigned recipients_ = 0;
    bool mail_ = false;
    bool tls_next_ = false;  // 220 to STARTTLS is on its way
    bool handshake_done_ = false;
    bool ended_ = false;
};

}  // namespace callforward::bench
