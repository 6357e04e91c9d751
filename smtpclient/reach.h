// Whom a call-forward may contact ([routing]), and what is known of the host that it runs on.
#pragma once

#include "dns/ip.h"
#include "dns/route.h"

#include <set>
#include <string>
#include <vector>

namespace callforward::smtpclient {

struct reach {  // whom a call-forward may contact ([routing])
    std::vector<dns::network>
        deny;  // where a name or MX may not lead; literals of a route are exempt
    dns::own_names my_names;
    std::set<dns::ip_address> my_addresses;
    // hosts(5), for next hops that DNS does not know; "": none.
    std::string hosts_file;

    bool operator==(const reach&) const = default;
};
// A valid domain name, or "localhost": what to say in EHLO where nobody says otherwise. Of a system
// whose name has no dot it is the full name that hosts(5) has.
[[nodiscard]] std::string own_host_name();
// This host's names, short and full, hosts(5), and the addresses of its interfaces, without
// loopback, which [routing] deny covers.
[[nodiscard]] reach this_host();
// [routing] deny as it is by default: networks that no mail host on the Internet has.
[[nodiscard]] std::vector<dns::network> default_deny();

}  // namespace callforward::smtpclient
