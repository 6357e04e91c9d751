#include "milter/explain_request.h"

#include "dns/ip.h"
#include "smtpclient/mailbox.h"
#include "smtpclient/printable.h"

namespace callforward::milter {

namespace {

// Of RFC 5737: nobody's, so that only what names it exempts it.
constexpr const char* some_client = "192.0.2.1";
constexpr const char* some_mta = "Postfix";

std::string in_brackets(const std::string& address) {
    return address.starts_with('<') ? address : '<' + address + '>';
}

}  // namespace

std::optional<envelope> envelope_of(const explain_request& r, std::string& problem) {
    envelope e;
    e.mta.version = some_mta;
    if (r.rcpt.empty()) {
        problem = "say which recipient";
        return std::nullopt;
    }
    e.rcpt = in_brackets(r.rcpt);
    e.mail = r.from.empty() ? "<>" : in_brackets(r.from);
    if (!smtpclient::parse_reverse_path(e.mail)) {
        problem = "not a sender's address: " + smtpclient::printable(r.from, 100) +
                  "; say USER@DOMAIN, or nothing for the null sender";
        return std::nullopt;
    }
    e.client_address = r.client.empty() ? some_client : r.client;
    if (!e.client()) {
        problem = "not a client's address: " + smtpclient::printable(r.client, 100);
        return std::nullopt;
    }
    const auto recipient = smtpclient::mailbox::parse(r.rcpt);
    // An MTA sends what is no mailbox nowhere, and says no route.
    if (!recipient && r.mta_route.empty()) return e;
    const std::string domain = recipient ? recipient->domain_part() : std::string{};
    std::string route = r.mta_route.empty() ? "smtp:" + domain : r.mta_route;
    if (route.starts_with('[')) route.insert(0, "smtp:");  // as it stands in a log line
    const auto colon = route.find(':');
    if (colon == std::string::npos || colon == 0) {
        problem = "an MTA's route is MAILER:HOST, as in smtp:[192.0.2.25], not " +
                  smtpclient::printable(route, 100);
        return std::nullopt;
    }
    e.rcpt_mailer = route.substr(0, colon);
    e.rcpt_host = route.substr(colon + 1);
    if (e.rcpt_host.empty()) e.rcpt_host = domain;
    e.rcpt_address = recipient ? recipient->address() : r.rcpt;
    return e;
}

std::optional<std::string> mta_route_of(std::string_view route, std::string_view domain) {
    if (route.empty() || route.find(',') != std::string_view::npos) return std::nullopt;
    if (route == "mx") return "smtp:" + std::string(domain);
    if (route.starts_with("smtps:")) return std::nullopt;
    if (route.starts_with("smtp:") || route.starts_with("lmtp:")) return std::string(route);
    return "smtp:" + std::string(route);
}

void tell_whence_route(const explain_request& r, const std::string& decision_id, story& told) {
    if (told.by.route != route_choice::mta || told.route.empty()) return;
    told.route_is_assumed = r.mta_route.empty();
    told.route_from = decision_id;
}

}  // namespace callforward::milter
