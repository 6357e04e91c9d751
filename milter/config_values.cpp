#include "milter/config_values.h"

#include "dns/domain.h"
#include "dns/server_list.h"
#include "smtpclient/mailbox.h"
#include "smtpclient/printable.h"

#include <array>
#include <charconv>
#include <utility>
#include <vector>

namespace callforward::milter {

namespace {

constexpr std::size_t longest_socket_path = 107;  // sockaddr_un, with its NUL

constexpr std::array units{
    std::pair{std::string_view("ms"), std::int64_t{1}},
    std::pair{std::string_view("s"), std::int64_t{1000}},
    std::pair{std::string_view("m"), std::int64_t{60} * 1000},
    std::pair{std::string_view("h"), std::int64_t{3600} * 1000},
    std::pair{std::string_view("d"), std::int64_t{86400} * 1000},
};

template <class Number>
std::optional<Number> parse_number(std::string_view digits, int base = 10) {
    Number number{};
    const char* const end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, number, base);
    if (error != std::errc{} || stop != end || digits.starts_with('-')) return std::nullopt;
    return number;
}

// "[127.0.0.1]", "127.0.0.1", "IPv6:::1".
std::optional<dns::ip_address> parse_address(std::string_view text) {
    if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
    return dns::ip_address::parse_literal(text);
}

std::string check_socket_path(std::string_view path) {
    if (!path.starts_with('/')) return "needs an absolute path, as in \"unix:/run/x.sock\"";
    if (path.size() > longest_socket_path || path.find('\0') != std::string_view::npos) {
        return "needs a path of at most 107 bytes";
    }
    return {};
}

std::string check_inet_socket(std::string_view text, bool is_v6) {
    const auto at = text.find('@');
    const auto port = parse_number<std::uint16_t>(text.substr(0, at));
    if (!port) return "needs a port from 0 to 65535, as in \"inet:8891@127.0.0.1\"";
    if (at == std::string_view::npos) {
        return "names no address: write \"inet:8891@127.0.0.1\", or @0.0.0.0 for all";
    }
    const std::string_view host = text.substr(at + 1);
    if (const auto address = parse_address(host)) {
        if (address->is_v4() == is_v6) {
            return quoted(host) + " is of the other address family: inet is IPv4, inet6 is IPv6";
        }
        return {};
    }
    if (!dns::domain::parse(host)) return quoted(host) + " is neither a host name nor an address";
    return {};
}

// Lower case and A-labels for what follows the last '@'.
std::string check_mailbox(std::string& text) {
    const auto mailbox = smtpclient::mailbox::parse(text);
    if (!mailbox || text.starts_with('<')) return quoted(text) + " is not an address";
    text = smtpclient::to_lower(mailbox->key());
    return {};
}

}  // namespace

std::optional<milliseconds> parse_duration(std::string_view text) {
    const auto unit_begin = text.find_first_not_of("0123456789");
    if (unit_begin == 0 || unit_begin == std::string_view::npos) return std::nullopt;
    const auto number = parse_number<std::int64_t>(text.substr(0, unit_begin));
    if (!number) return std::nullopt;
    for (const auto& [name, factor] : units) {
        if (name != text.substr(unit_begin)) continue;
        // A century is enough, and keeps every sum of times far from overflow.
        constexpr std::int64_t longest = std::int64_t{36500} * 86400 * 1000;
        if (*number > longest / factor) return std::nullopt;
        return milliseconds(*number * factor);
    }
    return std::nullopt;
}

std::string format_duration(milliseconds duration) {
    // A larger unit only for more than one of it: "60s" and "24h" say more than "1m" and "1d".
    for (auto unit = units.rbegin(); unit != units.rend(); ++unit) {
        const auto& [name, factor] = *unit;
        const std::int64_t count = duration.count() / factor;
        const std::int64_t fewest = factor > 1000 ? 2 : 1;
        if (duration.count() % factor == 0 && count >= fewest) {
            return std::to_string(count) + std::string(name);
        }
    }
    return "0s";
}

std::string quoted(std::string_view untrusted) {
    return '"' + smtpclient::printable_utf8(untrusted, 100) + '"';
}

std::string check_socket(const std::string& text) {
    const auto colon = text.find(':');
    const std::string_view kind = std::string_view(text).substr(0, colon);
    const std::string_view rest =
        colon == std::string::npos ? std::string_view{} : std::string_view(text).substr(colon + 1);
    if (colon != std::string::npos) {
        if (kind == "unix" || kind == "local") return check_socket_path(rest);
        if (kind == "inet") return check_inet_socket(rest, false);
        if (kind == "inet6") return check_inet_socket(rest, true);
        if (kind == "fd" && parse_number<std::uint16_t>(rest)) return {};
    }
    return "must be \"unix:/path\", \"inet:PORT@HOST\", \"inet6:PORT@HOST\" or \"fd:N\", not " +
           quoted(text);
}

std::optional<unsigned> parse_octal_mode(std::string_view text) {
    if (text.size() < 3 || text.size() > 4) return std::nullopt;
    const auto mode = parse_number<unsigned>(text, 8);
    if (!mode || *mode > 0777) return std::nullopt;
    return mode;
}

std::string check_helo(std::string& text) {
    if (text.empty()) return {};
    if (text.starts_with('[') && text.ends_with(']') && parse_address(text)) return {};
    const auto name = dns::domain::parse(text);
    if (!name) return quoted(text) + " is neither a host name nor an address in brackets";
    text = name->name();
    return {};
}

std::string check_dns_server(std::string& text) {
    const auto server = dns::normal_server(text);
    if (!server) return quoted(text) + " is not an address with a port, as in \"127.0.0.1:53\"";
    text = *server;
    return {};
}

std::optional<listen_address> parse_listen(std::string_view text) {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    std::string_view host = text.substr(0, colon);
    const bool bracketed = host.starts_with('[') && host.ends_with(']');
    if (bracketed) host = host.substr(1, host.size() - 2);
    const auto address = dns::ip_address::parse(host);
    const auto port = parse_number<std::uint16_t>(text.substr(colon + 1));
    if (!address || !port || !(address->is_v4() || bracketed)) return std::nullopt;
    return listen_address{*address, *port};
}

std::string parse_mailer(std::string_view text, mailer_rule& into) {
    const auto colon = text.find(':');
    const std::string_view kind = text.substr(0, colon);
    if (kind == "smtp" || kind == "lmtp") {
        into.protocol = kind == "smtp" ? smtpclient::protocol::smtp : smtpclient::protocol::lmtp;
        if (colon == std::string_view::npos) return {};
        const auto port = parse_number<std::uint16_t>(text.substr(colon + 1));
        if (port && *port != 0) {
            into.port = *port;
            return {};
        }
    } else if (text == "skip") {
        into.skip = true;
        return {};
    }
    return "must be \"smtp\", \"smtp:PORT\", \"lmtp\", \"lmtp:PORT\" or \"skip\", not " +
           quoted(text);
}

std::string check_policy_domain(std::string& text) {
    const bool below = text.starts_with('.');
    const auto name = dns::domain::parse(std::string_view(text).substr(below ? 1 : 0));
    if (!name) return quoted(text) + " is neither \"example.com\" nor \".example.com\"";
    text = (below ? "." : "") + name->name();
    return {};
}

std::string check_scope_domain(std::string& text) {
    if (text == "*") return {};
    const bool negative = text.starts_with('!');
    std::string name = text.substr(negative ? 1 : 0);
    if (!check_policy_domain(name).empty()) {
        return quoted(text) +
               " is none of \"example.com\", \".example.com\", \"!example.com\", \"*\"";
    }
    text = (negative ? "!" : "") + name;
    return {};
}

std::string check_exempt_recipient(std::string& text) {
    if (text.find('@') != std::string::npos && !text.starts_with('@')) return check_mailbox(text);
    // A local part is good when it makes an address.
    std::string address = text + "@example.com";
    if (text.starts_with('@') || !check_mailbox(address).empty()) {
        return quoted(text) + " is neither a local part nor an address; a whole domain is left " +
               "out with \"!example.com\" in \"domains\"";
    }
    text = smtpclient::to_lower(text);
    return {};
}

std::string check_exempt_sender(std::string& text) {
    if (text == "<>") return {};
    if (text.find('@') != std::string::npos) return check_mailbox(text);
    if (check_policy_domain(text).empty()) return {};
    return quoted(text) + " is not an address, a domain, \".domain\" or \"<>\"";
}

std::string check_alias(std::string& text) {
    if (!text.starts_with('@')) return check_mailbox(text);
    const auto name = dns::domain::parse(std::string_view(text).substr(1));
    if (!name) return quoted(text) + " is neither \"user@domain\" nor \"@domain\"";
    text = '@' + name->name();
    return {};
}

}  // namespace callforward::milter
