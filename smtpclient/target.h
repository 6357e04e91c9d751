// A host that a question may be asked of, and what is known of the way that led to it. A value;
// targets.h finds them.
//
// Names are lower case and valid; ports are never 0 but for a socket.
#pragma once

#include "dns/ip.h"
#include "smtpclient/next_hop.h"
#include "smtpclient/sts_policy.h"

#include <cstdint>
#include <optional>
#include <string>

namespace callforward::smtpclient {

struct target {  // a host to try
    smtpclient::protocol protocol = protocol::smtp;
    std::string name;                        // "" for a literal address or a socket
    std::string nexthop;                     // the domain or host that led here; "" like name
    std::string nexthop_canonical;           // what CNAMEs make of nexthop; "" like nexthop
    std::optional<dns::ip_address> literal;  // instead of a name
    bool literal_was_configured = true;      // and so exempt from [routing] deny
    std::string socket_path;
    std::uint16_t port = 25;
    bool from_mx = false;              // listed or implied by an MX look-up
    std::uint16_t preference = 0;      // of its MX record
    bool is_recipient_domain = false;  // the implicit MX of the recipient's own domain
    bool secure_way = true;            // no MX record that DNSSEC does not vouch for led here
    bool nexthop_counts = false;       // under DANE: a certificate for either is good, too
    // What MTA-STS says of it: under enforce it is verified by its name, under testing what would
    // keep it from that is said.
    sts_policy::mode sts = sts_policy::mode::none;

    // What it goes by in verdicts: its name, or its address.
    [[nodiscard]] std::string text() const {
        return name.empty() && literal ? literal->text() : name;
    }
};

}  // namespace callforward::smtpclient
