// The part of an opening that comes when TLS is settled: who we are, for next hops that want to
// know.
#include "smtpclient/dialogue.h"

namespace callforward::smtpclient {

namespace {

// RFC 4954 section 4 and 6: this mechanism not, but perhaps another one.
bool is_about_mechanism(const reply& r) {
    return r.code == 504 || r.code == 534;
}

}  // namespace

// XCLIENT first: after it the next hop knows nothing any more of what was said before (EHLO, AUTH),
// but for TLS.
step opening::introduce() {
    if (options_.client && offered_.xclient.any() && !client_told_) {
        client_told_ = true;
        stage_ = stage::xclient;
        return send{xclient_command(*options_.client, offered_.xclient) + "\r\n", 1};
    }
    if (options_.login.wanted()) return begin_auth();
    return ready{};
}

// Postfix takes the client's name from the EHLO behind XCLIENT, whatever HELO= said before.
std::string opening::helo_name() const {
    const auto clients = client_told_ ? options_.client->helo_argument() : std::nullopt;
    return clients.value_or(options_.helo);
}

// The reply is the greeting that the client would have got, or its refusal.
step opening::on_xclient(const reply& r) {
    if (r.status_class() != 2) return fail(r);
    return greet();
}

step opening::begin_auth() {
    stage_ = stage::auth;
    if (!secured_) {
        return conclusion{{verdict_class::insecure, reason::tls_not_offered},
                          stage_,
                          std::nullopt,
                          "AUTH is done over TLS only, and tls = \"none\""};
    }
    if (offered_.auth_plain) {
        auth_ = auth_turn::plain;
        return send{"AUTH PLAIN " + plain_response(options_.login) + "\r\n", 1};
    }
    if (offered_.auth_login) return begin_auth_login();
    return conclusion{{verdict_class::refused, reason::auth_required},
                      stage_,
                      std::nullopt,
                      "the next hop offers neither AUTH PLAIN nor AUTH LOGIN"};
}

step opening::begin_auth_login() {
    auth_ = auth_turn::login;
    return send{"AUTH LOGIN\r\n", 1};
}

step opening::on_auth(const reply& r) {
    if (r.code == 334 && auth_ == auth_turn::login) {
        auth_ = auth_turn::login_name;
        return send{base64(options_.login.username) + "\r\n", 1};
    }
    if (r.code == 334 && auth_ == auth_turn::login_name) {
        auth_ = auth_turn::login_password;
        return send{base64(options_.login.password) + "\r\n", 1};
    }
    if (r.status_class() == 2) return ready{};
    if (is_about_mechanism(r) && auth_ == auth_turn::plain && offered_.auth_login) {
        return begin_auth_login();
    }
    reply shown = r;
    for (auto& line : shown.lines) line = without_secrets(line, options_.login);
    return fail(shown);
}

}  // namespace callforward::smtpclient
