#include "tests/support/smtp_session.h"

#include <arpa/inet.h>

#include <array>
#include <cctype>
#include <cstdio>

namespace callforward::testing {

namespace {

std::string folded(std::string text) {
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
}

std::string without_brackets(const std::string& path) {
    if (path.size() >= 2 && path.front() == '<' && path.back() == '>')
        return path.substr(1, path.size() - 2);
    return path;
}

// Sendmail writes all eight groups of an IPv6 address.
std::string sendmail_address(const std::string& text) {
    if (!text.starts_with("IPv6:")) return text;
    std::array<unsigned char, 16> bytes{};
    if (::inet_pton(AF_INET6, text.c_str() + 5, bytes.data()) != 1) return text;
    std::string full = "IPv6";
    for (std::size_t i = 0; i < bytes.size(); i += 2) {
        std::array<char, 8> group{};
        std::snprintf(group.data(), group.size(), ":%x", bytes.at(i) * 256U + bytes.at(i + 1));
        full += group.data();
    }
    return full;
}

}  // namespace

macro_map smtp_session::known_macros(mta_kind kind) const {
    const bool postfix = kind == mta_kind::postfix;
    const std::string sender = without_brackets(mail);
    const std::string address = postfix ? client_address : sendmail_address(client_address);
    macro_map known{
        {"j", "mx.test"},
        {"v", postfix ? "Postfix 3.7.11" : "8.17.1.9"},
        {"_", client_name + " [" + address + "]"},
        {"{daemon_name}", postfix ? "mx.test" : "MTA"},
        {"{client_addr}", address},
        {"{client_name}", client_name},
        {"{client_port}", std::to_string(client_port)},
        {"{client_connections}", "1"},
        {"{mail_addr}", postfix ? folded(sender) : sender},
        {"{mail_host}", postfix ? "" : "example.org."},
        {"{mail_mailer}", postfix ? "smtp" : "esmtp"},
    };
    if (postfix)
        known["{daemon_addr}"] = "127.0.0.1";
    else
        known["i"] = queue_id;  // Postfix has none before the first accepted recipient
    if (!auth.empty()) {
        known["{auth_type}"] = "PLAIN";
        known["{auth_authen}"] = auth;
    }
    if (!rcpt_mailer.empty()) known["{rcpt_mailer}"] = rcpt_mailer;
    if (!rcpt_host.empty()) known["{rcpt_host}"] = rcpt_host;
    if (!rcpt_addr.empty()) known["{rcpt_addr}"] = rcpt_addr;
    return known;
}

milter_reply play(mta& mta, const smtp_session& session) {
    const macro_map known = session.known_macros(mta.kind());
    mta.macros(milter_stage::connect, mta.usual_macros(milter_stage::connect, known));
    auto reply = mta.connect_info(session.client_name, session.client_address, session.client_port);
    if (!reply.goes_on()) return reply;
    mta.macros(milter_stage::helo, mta.usual_macros(milter_stage::helo, known));
    reply = mta.helo(session.helo);
    if (!reply.goes_on()) return reply;
    mta.macros(milter_stage::mail, mta.usual_macros(milter_stage::mail, known));
    std::vector<std::string> argv{session.mail};
    argv.insert(argv.end(), session.mail_parameters.begin(), session.mail_parameters.end());
    reply = mta.mail(argv);
    if (!reply.goes_on()) return reply;
    return play_rcpt(mta, session);
}

milter_reply play_rcpt(mta& mta, const smtp_session& session) {
    mta.macros(milter_stage::rcpt,
               mta.usual_macros(milter_stage::rcpt, session.known_macros(mta.kind())));
    std::vector<std::string> argv{session.rcpt};
    argv.insert(argv.end(), session.rcpt_parameters.begin(), session.rcpt_parameters.end());
    return mta.rcpt(argv);
}

}  // namespace callforward::testing
