#include "tests/bench/next_hop_session.h"

#include <openssl/bio.h>

#include <array>
#include <stdexcept>

namespace callforward::bench {

namespace {

constexpr std::size_t longest_input = std::size_t{4} * 1024 * 1024;

bool is_command(std::string_view line, std::string_view name) {
    if (line.size() < name.size()) return false;
    for (std::size_t i = 0; i < name.size(); ++i) {
        const char c = line[i];
        const char upper = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
        if (upper != name[i]) return false;
    }
    return line.size() == name.size() || line[name.size()] == ' ';
}

}  // namespace

ssl_context server_context(const std::string& certificate, const std::string& key) {
    ssl_context context(SSL_CTX_new(TLS_server_method()));
    if (!context || SSL_CTX_use_certificate_chain_file(context.get(), certificate.c_str()) != 1 ||
        SSL_CTX_use_PrivateKey_file(context.get(), key.c_str(), SSL_FILETYPE_PEM) != 1) {
        throw std::runtime_error("cannot use certificate " + certificate + " with key " + key);
    }
    return context;
}

std::string session::received(std::string_view bytes) {
    if (ended_) return {};
    if (ssl_) return through_tls(bytes);
    input_ += bytes;
    if (input_.size() > longest_input) {
        end();
        return {};
    }
    std::string replies;
    answer_lines(replies);
    if (tls_next_) begin_tls();
    return replies;
}

void session::answer_lines(std::string& replies) {
    std::string_view rest = input_;
    for (auto end = rest.find('\n'); end != std::string_view::npos && !ended_ && !tls_next_;
         end = rest.find('\n')) {
        std::string_view line = rest.substr(0, end);
        if (line.ends_with('\r')) line.remove_suffix(1);
        answer(line, replies);
        rest.remove_prefix(end + 1);
    }
    input_.erase(0, input_.size() - rest.size());
}

void session::answer(std::string_view line, std::string& replies) {
    if (is_command(line, "RCPT")) {
        recipient(line, replies);
    } else if (is_command(line, "MAIL")) {
        replies += mail_ ? "503 5.5.1 nested MAIL\r\n" : "250 2.1.0 Ok\r\n";
        if (mail_) ++counters_.bad_commands;
        mail_ = true;
    } else if (is_command(line, "RSET")) {
        mail_ = false;
        replies += "250 2.0.0 Ok\r\n";
    } else if (is_command(line, "NOOP")) {
        replies += "250 2.0.0 Ok\r\n";
    } else if (is_command(line, "EHLO")) {
        mail_ = false;
        ehlo(replies);
    } else if (is_command(line, "HELO")) {
        mail_ = false;
        replies += "250 hop.test\r\n";
    } else if (is_command(line, "STARTTLS") && settings_.tls && !ssl_) {
        tls_next_ = true;
        replies += "220 2.0.0 Ready\r\n";
    } else if (is_command(line, "QUIT")) {
        replies += "221 2.0.0 Bye\r\n";
        end();
    } else {
        ++counters_.bad_commands;
        replies += "503 5.5.1 not here\r\n";
    }
}

void session::recipient(std::string_view line, std::string& replies) {
    if (!mail_) {
        ++counters_.bad_commands;
        replies += "503 5.5.1 MAIL first\r\n";
        return;
    }
    ++recipients_;
    ++counters_.recipients;
    const auto bracket = line.find('<');
    const bool unknown =
        bracket != std::string_view::npos && line.substr(bracket + 1).starts_with('x');
    if (unknown) ++counters_.refused;
    replies += unknown ? "550 5.1.1 User unknown\r\n" : "250 2.1.5 Ok\r\n";
}

void session::ehlo(std::string& replies) const {
    replies += "250-hop.test\r\n";
    if (settings_.pipelining) replies += "250-PIPELINING\r\n";
    if (settings_.tls && !ssl_) replies += "250-STARTTLS\r\n";
    replies += "250-SIZE 10240000\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n";
}

void session::begin_tls() {
    tls_next_ = false;
    mail_ = false;
    input_.clear();  // what came before the handshake is not believed
    ssl_.reset(SSL_new(settings_.tls.get()));
    SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(ssl_.get());
}

std::string session::through_tls(std::string_view bytes) {
    BIO_write(SSL_get_rbio(ssl_.get()), bytes.data(), static_cast<int>(bytes.size()));
    if (!handshake_done_) {
        const int done = SSL_do_handshake(ssl_.get());
        if (done == 1) {
            handshake_done_ = true;
            ++counters_.handshakes;
        } else if (SSL_get_error(ssl_.get(), done) != SSL_ERROR_WANT_READ) {
            end();
        }
    }
    std::array<char, 16384> buffer{};
    while (handshake_done_ && !ended_) {
        const int got = SSL_read(ssl_.get(), buffer.data(), static_cast<int>(buffer.size()));
        if (got <= 0) {
            if (SSL_get_error(ssl_.get(), got) != SSL_ERROR_WANT_READ) end();
            break;
        }
        input_.append(buffer.data(), static_cast<std::size_t>(got));
    }
    std::string replies;
    answer_lines(replies);
    if (!replies.empty()) SSL_write(ssl_.get(), replies.data(), static_cast<int>(replies.size()));
    std::string wire;
    for (int got = 0;
         (got = BIO_read(
              SSL_get_wbio(ssl_.get()), buffer.data(), static_cast<int>(buffer.size()))) > 0;) {
        wire.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return wire;
}

}  // namespace callforward::bench
