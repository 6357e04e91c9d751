// The SMTP client on whose behalf a next hop is asked, and the two ways to tell the next hop of it:
// XCLIENT (Postfix' XCLIENT_README) and the PROXY protocol, version 2.
//
// All of it is untrusted: it comes from the client and from DNS. What is sent of it can neither end
// a command early nor begin another attribute: XCLIENT values are xtext (RFC 3461 section 4), and
// what is no host name, or too long, counts as not known. Pure; any thread.
#pragma once

#include "dns/ip.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace callforward::smtpclient {

struct client_identity {
    dns::ip_address address;
    std::uint16_t port = 0;  // 0: not known
    std::string name;        // from DNS; "": not known
    std::string helo;        // as it said; "": not known
    bool extended = false;   // it spoke ESMTP; false: not known

    // Equal for equal clients, different for all others.
    [[nodiscard]] std::string key() const;
    // helo, when it may stand in EHLO (RFC 5321 section 4.1.1.1).
    [[nodiscard]] std::optional<std::string> helo_argument() const;
    bool operator==(const client_identity&) const = default;
};

struct xclient_attributes {  // of a next hop's offer; others are never sent
    bool name = false;
    bool addr = false;
    bool port = false;
    bool helo = false;
    bool proto = false;

    [[nodiscard]] bool any() const { return name || addr || port || helo || proto; }
    bool operator==(const xclient_attributes&) const = default;
};
// Of the words behind XCLIENT in the reply to EHLO.
[[nodiscard]] xclient_attributes parse_xclient(std::string_view words);

// The command, without CRLF and at most 510 bytes, with each attribute that is offered;
// [UNAVAILABLE] for what is not known, but for PROTO, which is then left out.
[[nodiscard]] std::string xclient_command(const client_identity& who,
                                          const xclient_attributes& offered);

// The header that comes before everything else on a connection. Without a client, or without an
// address of the next hop (a unix socket), it says LOCAL: the connection is our own.
[[nodiscard]] std::string proxy_header(const std::optional<client_identity>& who,
                                       const std::optional<dns::ip_address>& next_hop,
                                       std::uint16_t port);

}  // namespace callforward::smtpclient
