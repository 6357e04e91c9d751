// One element of a route: where a call-forward goes, before any look-up.
//
//   "[host]:port"   no MX look-up          "host", "host:port"   MX look-up of host
//   "192.0.2.1", "[2001:db8::1]:25", "[IPv6:2001:db8::1]"        an address
//   prefixes "smtp:", "smtps:" (TLS from the first byte), "lmtp:" (never MX), and "lmtp:unix:/path"
#pragma once

#include "dns/ip.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::smtpclient {

enum class protocol { smtp, smtps, lmtp };

struct next_hop {
    smtpclient::protocol protocol = protocol::smtp;
    std::string host;                        // a name, lower case; "" with an address or a socket
    std::optional<dns::ip_address> address;  // a literal: exempt from [routing] deny
    std::string socket_path;                 // lmtp:unix:
    std::uint16_t port = 0;                  // 0: the policy's port; 24 for lmtp
    bool look_up_mx = false;

    auto operator<=>(const next_hop&) const = default;
};

// Canonical text: equal destinations have equal texts.
[[nodiscard]] std::string to_string(const next_hop& hop);
void append_text(std::string& to, const next_hop& hop);

// On failure nothing, and in `error` what is wrong, for the operator.
[[nodiscard]] std::optional<next_hop> parse_next_hop(std::string_view text, std::string& error);

// "host", "host:port", "[host]", "[host]:port", addresses: the part after a prefix, which both MTAs
// share. Brackets mean no MX look-up. A port is a number or "smtp", "submission", "smtps", "lmtp".
[[nodiscard]] std::optional<next_hop> parse_host_port(std::string_view text, std::string& error);
// The same, in the memory that `into` has; when false it is of no use.
[[nodiscard]] bool parse_host_port(std::string_view text, next_hop& into, std::string& error);

}  // namespace callforward::smtpclient
