#include "milter/mta_route.h"

#include "dns/byte_set.h"
#include "dns/domain.h"
#include "smtpclient/mailbox.h"
#include "smtpclient/next_hop.h"
#include "smtpclient/printable.h"
#include "smtpclient/unicode.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace callforward::milter {

namespace {

constexpr std::size_t most_hops = 32;
constexpr std::size_t longest_host = std::size_t{16} * 1024;  // of a macro; Postfix sends no more
constexpr std::size_t longest_socket_path = 107;              // sockaddr_un

// Mailers and transports that deliver on this machine, or to a program, or nowhere: the names of
// both MTAs' own configuration files.
constexpr std::array<std::string_view, 33> delivers_here{
    "local",     "virtual",     "prog",
    "*file*",    "*include*",   "error",
    "discard",   "retry",       "usenet",
    "procmail",  "cyrus",       "cyrusv2",
    "cyrusbb",   "cyrus-imapd", "mailman",
    "maildrop",  "dovecot",     "spamc",
    "fax",       "phquery",     "mail11",
    "pop",       "bsmtp",       "ifmail",
    "scalemail", "uucp",        "uucp-old",
    "suucp",     "rmail",       "uucp-new",
    "uucp-dom",  "uucp-uudom",  "scalemail-backend"};

constexpr std::array<std::string_view, 2> postfix_smtp{"smtp", "relay"};
constexpr std::array<std::string_view, 5> sendmail_smtp{"smtp", "esmtp", "smtp8", "dsmtp", "relay"};

template <class Names>
bool is_one_of(const Names& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

std::string quoted(std::string_view untrusted) {
    return '"' + smtpclient::printable(untrusted, 100) + '"';
}

// What the mailer's name says, by the operator's word first; nothing when nobody knows it.
std::optional<mailer_rule> rule_for(const std::string& mailer,
                                    bool postfix,
                                    const routing_settings& settings) {
    if (const auto found = settings.mailers.find(mailer); found != settings.mailers.end()) {
        return found->second;
    }
    mailer_rule rule;
    if (is_one_of(delivers_here, mailer)) {
        rule.skip = true;
        return rule;
    }
    if (mailer == "lmtp") {
        rule.protocol = smtpclient::protocol::lmtp;
        return rule;
    }
    const bool smtp = postfix ? is_one_of(postfix_smtp, mailer) : is_one_of(sendmail_smtp, mailer);
    return smtp ? std::optional(rule) : std::nullopt;
}

// Postfix folds {rcpt_addr} beyond ASCII too; domains are then compared as A-labels.
bool equal_apart_from_case(std::string_view a, std::string_view b) {
    if (a == b || smtpclient::equal_ignoring_case(a, b)) return true;
    const auto at_a = a.rfind('@');
    const auto at_b = b.rfind('@');
    if (at_a == std::string_view::npos || at_b == std::string_view::npos) return false;
    if (!smtpclient::equal_apart_from_form(a.substr(0, at_a), b.substr(0, at_b))) return false;
    if (dns::ascii.contains_all_of(a.substr(at_a)) && dns::ascii.contains_all_of(b.substr(at_b))) {
        return smtpclient::equal_ignoring_case(a.substr(at_a), b.substr(at_b));
    }
    const auto domain = dns::domain::parse(a.substr(at_a + 1));
    return domain && domain == dns::domain::parse(b.substr(at_b + 1));
}

// MTA-FACTS section 1: the MTA folds the local part in its macro, but not in what it delivers.
std::string_view address_to_send(const envelope& e) {
    std::string_view given = e.rcpt;
    if (given.starts_with('<') && given.ends_with('>')) {
        given.remove_prefix(1);
        given.remove_suffix(1);
    }
    const bool as_given = e.rcpt_address.empty() || equal_apart_from_case(given, e.rcpt_address);
    return as_given ? given : std::string_view(e.rcpt_address);
}

// Postfix's CHARS_COMMA_SP.
std::string_view take_postfix_element(std::string_view& list) {
    constexpr std::string_view separators = ", \t\r\n";
    const auto begin = std::min(list.find_first_not_of(separators), list.size());
    const auto end = std::min(list.find_first_of(separators, begin), list.size());
    const std::string_view element = list.substr(begin, end - begin);
    list.remove_prefix(end);
    return element;
}

// A colon inside brackets belongs to an IPv6 address. One trailing dot is the MTA's mark of a name
// that it has found in DNS.
std::string_view take_sendmail_element(std::string_view& list) {
    std::string_view element;
    while (element.empty() && !list.empty()) {
        bool bracketed = false;
        std::size_t end = 0;
        for (; end < list.size() && (bracketed || list[end] != ':'); ++end) {
            if (list[end] == '[') bracketed = true;
            if (list[end] == ']') bracketed = false;
        }
        element = list.substr(0, end);
        list.remove_prefix(std::min(end + 1, list.size()));
        if (element.ends_with('.')) element.remove_suffix(1);
    }
    return element;
}

bool socket_of(std::string_view path,
               const std::string& queue_directory,
               smtpclient::next_hop& hop,
               std::string& why) {
    hop = {};
    hop.protocol = smtpclient::protocol::lmtp;
    if (!path.starts_with('/')) hop.socket_path = queue_directory + '/';
    hop.socket_path += path;
    if (path.empty() || hop.socket_path.size() > longest_socket_path ||
        hop.socket_path.find('\0') != std::string::npos) {
        why = quoted(path) + " is no path of a socket (at most 107 bytes)";
        return false;
    }
    return true;
}

bool take_prefix(std::string_view& text, std::string_view prefix) {
    if (!text.starts_with(prefix)) return false;
    text.remove_prefix(prefix.size());
    return true;
}

// The place of the next hop: one of before, whose memory is used again, or a new one.
smtpclient::next_hop& place(std::vector<smtpclient::next_hop>& hops, std::size_t number) {
    return number < hops.size() ? hops[number] : hops.emplace_back();
}

// The hops of {rcpt_host}; false when one of them can not be read, and in why what is wrong.
bool read_hops(const envelope& e,
               const mailer_rule& rule,
               const routing_settings& settings,
               std::vector<smtpclient::next_hop>& hops,
               std::string& why) {
    const bool postfix = e.mta.is_postfix();
    const bool lmtp = rule.protocol == smtpclient::protocol::lmtp;
    std::string_view list = e.rcpt_host;
    if (list.size() > longest_host) {
        why = "{rcpt_host} is longer than 16 KiB";
        return false;
    }
    if (postfix && lmtp && take_prefix(list, "unix:")) {
        hops.resize(1);
        return socket_of(list, settings.queue_directory, hops.front(), why);
    }
    std::size_t count = 0;
    while (true) {
        std::string_view element =
            postfix ? take_postfix_element(list) : take_sendmail_element(list);
        if (element.empty()) break;
        if (count == most_hops) {
            why = "{rcpt_host} names more than 32 next hops; the first 32 are used";
            break;
        }
        if (postfix && lmtp) take_prefix(element, "inet:");
        auto& hop = place(hops, count++);
        if (!smtpclient::parse_host_port(element, hop, why)) return false;
        hop.protocol = rule.protocol;
        if (lmtp) hop.look_up_mx = false;  // neither MTA asks for MX there
        if (hop.port == 0) hop.port = rule.port;
    }
    hops.resize(count);
    if (hops.empty()) why = "{rcpt_host} " + quoted(e.rcpt_host) + " names no host";
    return !hops.empty();
}

// "smtp:" without a next hop, and a relay domain without an entry, come as the domain itself. They
// are its MX, for which the absence of the domain says something about the recipient.
bool is_mx_of_recipient(const std::vector<smtpclient::next_hop>& hops, std::string_view rcpt) {
    if (hops.size() != 1) return false;
    const auto& hop = hops.front();
    if (!hop.look_up_mx || hop.port != 0 || hop.protocol != smtpclient::protocol::smtp)
        return false;
    const auto at = rcpt.rfind('@');
    if (at == std::string_view::npos) return false;
    std::string_view name = rcpt.substr(at + 1);
    if (!dns::ascii.contains_all_of(name)) {
        const auto domain = dns::domain::parse(name);
        return domain && domain->name() == hop.host;
    }
    if (name.ends_with('.')) name.remove_suffix(1);
    return smtpclient::equal_ignoring_case(name, hop.host);
}

std::string_view word_for_mailer(const envelope& e) {
    return e.mta.is_postfix() ? "transport " : "mailer ";
}

std::string nobody_to_ask(const envelope& e) {
    return "nobody to ask: it goes to the " + std::string(word_for_mailer(e)) +
           quoted(e.rcpt_mailer);
}

// What looks like a mistake in the route may be one in telling the MTAs apart.
std::string_view if_postfix(const mta_identity& mta) {
    if (mta.is_postfix() || mta.is_sendmail()) return {};
    return " (read as a route of Sendmail, since {v} does not begin with \"Postfix\": if this is a "
           "Postfix, set milter_macro_v = Postfix $mail_version in its main.cf)";
}

void read_anew(const envelope& e, const routing_settings& settings, mta_route::reading& into) {
    into.host = e.rcpt_host;
    into.by_postfix = e.mta.is_postfix();
    into.by_sendmail = e.mta.is_sendmail();
    into.why.clear();
    const auto rule = rule_for(smtpclient::to_lower(e.rcpt_mailer), into.by_postfix, settings);
    if (rule && rule->skip) {
        into.kind = route_kind::local;
        into.why = nobody_to_ask(e);
        return;
    }
    into.kind = route_kind::not_understood;
    if (!rule) {
        into.why = "unknown ";
        into.why.append(word_for_mailer(e)).append(quoted(e.rcpt_mailer)) +=
            ": name it in [routing] mailers";
        into.why += if_postfix(e.mta);
        return;
    }
    if (read_hops(e, *rule, settings, into.hops, into.why)) {
        into.text = smtpclient::destination{false, into.hops}.text();
        into.kind = route_kind::ask;
        return;
    }
    into.why = "{rcpt_host} of " + quoted(e.rcpt_mailer) + ": " + into.why;
    // The one mistake that both an operator and the MTA's own documentation make look right.
    if (!into.by_postfix && e.rcpt_host.find(':') != std::string::npos) {
        into.why +=
            " (Sendmail separates hosts by ':'; for a port define a mailer, and name it in "
            "[routing] mailers)";
    }
    into.why += if_postfix(e.mta);
}

void read(const envelope& e, const routing_settings& settings, mta_route::reading& last) {
    const bool is_known = last.mailer == e.rcpt_mailer && last.host == e.rcpt_host &&
                          last.by_postfix == e.mta.is_postfix() &&
                          last.by_sendmail == e.mta.is_sendmail();
    if (is_known) return;
    last.mailer.clear();  // so that without memory nothing half read is believed
    read_anew(e, settings, last);
    last.mailer = e.rcpt_mailer;
}

}  // namespace

void mta_route::append_text(std::string& to_text) const {
    if (kind == route_kind::ask && !to.recipient_mx) {
        to_text += last.text;
    } else {
        to.append_text(to_text);
    }
}

mta_route route_from_macros(const envelope& e, const routing_settings& settings) {
    mta_route route;
    route_from_macros(e, settings, route);
    return route;
}

void route_from_macros(const envelope& e, const routing_settings& settings, mta_route& route) {
    route.to.recipient_mx = false;
    route.rcpt = address_to_send(e);
    if (e.rcpt_mailer.empty() || e.rcpt_host.empty() || e.rcpt_address.empty()) {
        // Sendmail's local mailer has no host; Postfix has neither for mail that came without SMTP.
        route.to.hops.clear();
        route.kind = route_kind::local;
        route.why = e.rcpt_mailer.empty() ? "" : nobody_to_ask(e);
        return;
    }
    read(e, settings, route.last);
    route.kind = route.last.kind;
    route.why = route.last.why;
    const bool ask = route.kind == route_kind::ask;
    route.to.recipient_mx = ask && is_mx_of_recipient(route.last.hops, route.rcpt);
    if (ask && !route.to.recipient_mx) {
        route.to.hops = route.last.hops;
    } else {
        route.to.hops.clear();
    }
}

}  // namespace callforward::milter
