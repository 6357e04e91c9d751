// An MX answer, turned into the hosts to try, in order (RFC 5321 section 5.1, RFC 7505). Pure.
//
// Equal preferences are shuffled by the seed. A host that is this host, and all that have its
// preference or a worse one, are dropped. A null MX counts only when it is the one record; beside
// others it is malformed and left out. At most max_hosts are returned, however many are listed.
// Addresses are not looked at here: see find_this_host() in smtpclient/targets.h for hosts that are
// ourselves under another name.
#pragma once

#include "dns/answer.h"

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace callforward::dns {

inline constexpr std::size_t max_hosts = 32;

struct mail_host {
    domain name;
    std::uint16_t preference = 0;

    bool operator==(const mail_host&) const = default;
};

enum class routing {
    listed,          // hosts from MX records
    implicit,        // no MX records: the domain itself, preference 0
    null_mx,         // RFC 7505: the domain takes no mail
    no_such_domain,  // NXDOMAIN
    loop,            // every usable host is this host
    unusable,        // MX records, none of which names a host
    unavailable,     // the MX question was not answered
};
[[nodiscard]] std::string_view to_string(routing r);

struct route {
    dns::routing routing = dns::routing::unavailable;
    std::vector<mail_host> hosts;  // empty unless listed or implicit
    std::string why;               // for the log
};

// Lower-case domain names without trailing dot.
using own_names = std::set<std::string, std::less<>>;

[[nodiscard]] route route_mail(const domain& to,
                               const answer<mx>& exchangers,
                               const own_names& self,
                               std::uint32_t shuffle_seed);

}  // namespace callforward::dns
