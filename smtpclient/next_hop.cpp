#include "smtpclient/next_hop.h"

#include "dns/domain.h"
#include "smtpclient/printable.h"

#include <algorithm>
#include <charconv>

namespace callforward::smtpclient {

namespace {

std::optional<std::uint16_t> parse_port(std::string_view text) {
    if (text == "smtp") return std::uint16_t{25};
    if (text == "submission") return std::uint16_t{587};
    if (text == "smtps" || text == "submissions") return std::uint16_t{465};
    if (text == "lmtp") return std::uint16_t{24};
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc{} || end != text.data() + text.size() || port == 0) return std::nullopt;
    return port;
}

std::string quoted(std::string_view untrusted) {
    return '"' + printable(untrusted, 100) + '"';
}

bool has_controls(std::string_view text) {
    return std::any_of(
        text.begin(), text.end(), [](char c) { return (c >= '\0' && c < ' ') || c == 0x7f; });
}

bool take_prefix(std::string_view& text, std::string_view prefix) {
    if (text.size() < prefix.size() ||
        !equal_ignoring_case(text.substr(0, prefix.size()), prefix)) {
        return false;
    }
    text.remove_prefix(prefix.size());
    return true;
}

// Splits "[host]:port" or "host:port" into its parts; true when brackets were there and were
// balanced.
bool split(std::string_view text, std::string_view& host, std::string_view& port, bool& bracketed) {
    bracketed = text.starts_with('[');
    std::string_view rest;
    if (bracketed) {
        const auto close = text.find(']');
        if (close == std::string_view::npos) return false;
        host = text.substr(1, close - 1);
        rest = text.substr(close + 1);
    } else {
        const auto colon = text.find(':');
        host = text.substr(0, colon);
        rest = colon == std::string_view::npos ? std::string_view{} : text.substr(colon);
    }
    if (rest.empty()) return true;
    if (rest.front() != ':' || rest.size() == 1) return false;
    port = rest.substr(1);
    return true;
}

}  // namespace

std::string to_string(const next_hop& hop) {
    std::string text;
    append_text(text, hop);
    return text;
}

void append_text(std::string& to, const next_hop& hop) {
    switch (hop.protocol) {
        case protocol::smtp:
            // A host of such a name would be read as the prefix.
            if (hop.host == "smtp" || hop.host == "smtps" || hop.host == "lmtp") to += "smtp:";
            break;
        case protocol::smtps:
            to += "smtps:";
            break;
        case protocol::lmtp:
            to += "lmtp:";
            break;
    }
    if (!hop.socket_path.empty()) {
        to.append("unix:").append(hop.socket_path);
        return;
    }
    if (!hop.look_up_mx) to += '[';
    if (hop.address) {
        hop.address->append_text(to);
    } else {
        to += hop.host;
    }
    if (!hop.look_up_mx) to += ']';
    if (hop.port != 0) to.append(1, ':').append(std::to_string(hop.port));
}

std::optional<next_hop> parse_host_port(std::string_view text, std::string& error) {
    std::optional<next_hop> hop(std::in_place);
    if (!parse_host_port(text, *hop, error)) hop.reset();
    return hop;
}

bool parse_host_port(std::string_view text, next_hop& hop, std::string& error) {
    hop.protocol = protocol::smtp;
    hop.host.clear();
    hop.address.reset();
    hop.socket_path.clear();
    hop.port = 0;
    hop.look_up_mx = false;
    // An IPv6 address without brackets has no port: its colons are its own.
    if (const auto bare = dns::ip_address::parse_literal(text)) {
        hop.address = bare;
        return true;
    }
    std::string_view host;
    std::string_view port;
    bool bracketed = false;
    if (!split(text, host, port, bracketed)) {
        error = quoted(text) + " is not \"host\", \"host:port\", \"[host]\" or \"[host]:port\"";
        return false;
    }
    if (!port.empty()) {
        const auto number = parse_port(port);
        if (!number) {
            error = quoted(port) + " is not a port: use a number from 1 to 65535";
            return false;
        }
        hop.port = *number;
    }
    if (const auto address = dns::ip_address::parse_literal(host)) {
        hop.address = address;
        return true;
    }
    if (!dns::assign_name(hop.host, host)) {
        error = quoted(host) + " is neither a host name nor an address";
        return false;
    }
    hop.look_up_mx = !bracketed;
    return true;
}

std::optional<next_hop> parse_next_hop(std::string_view text, std::string& error) {
    protocol spoken = protocol::smtp;
    if (take_prefix(text, "smtps:")) {
        spoken = protocol::smtps;
    } else if (take_prefix(text, "lmtp:")) {
        spoken = protocol::lmtp;
    } else {
        take_prefix(text, "smtp:");
    }
    // "unix:25" is a host.
    const bool socket = spoken == protocol::lmtp || text.substr(0, 6).ends_with('/');
    if (socket && take_prefix(text, "unix:")) {
        if (spoken != protocol::lmtp || !text.starts_with('/')) {
            error = "a socket is written \"lmtp:unix:/path\", with an absolute path";
            return std::nullopt;
        }
        next_hop hop;
        hop.protocol = protocol::lmtp;
        hop.socket_path = text;
        // sockaddr_un holds 107 bytes; control bytes would be a line of their own in a log.
        if (hop.socket_path.size() > 107 || has_controls(hop.socket_path)) {
            error = "the path of a socket has at most 107 bytes, and no control characters";
            return std::nullopt;
        }
        return hop;
    }
    auto hop = parse_host_port(text, error);
    if (!hop) return std::nullopt;
    hop->protocol = spoken;
    if (spoken == protocol::lmtp) hop->look_up_mx = false;  // RFC 2033 knows no MX
    return hop;
}

}  // namespace callforward::smtpclient
