// The policy of a domain from its web host (RFC 8461 section 3.3):
// https://mta-sts.DOMAIN/.well-known/mta-sts.txt.
//
// The certificate is verified with the system's authorities and the host's name; no redirects, no
// more than 64 KiB, text/plain, status 200. Blocks for 10 seconds at most. Any thread.
#pragma once

#include "dns/ip.h"

#include <cstdint>
#include <string>
#include <vector>

namespace callforward::smtpclient {

struct sts_document {
    std::string text;   // untrusted
    std::string error;  // why there is none; "" when there is
};

// addresses: of the web host, as our own resolver found them, at least one. Those of both families
// are raced, and of each family the first eight tried.
[[nodiscard]] sts_document fetch_sts_policy(const std::string& domain,
                                            const std::vector<dns::ip_address>& addresses);

// The same from elsewhere, for tests: the name in the request and in the certificate stays that of
// the domain.
struct sts_web_host {
    std::vector<dns::ip_address> addresses;
    std::uint16_t port = 443;
    std::string ca_file;  // "": the system's
};
[[nodiscard]] sts_document fetch_sts_policy_from(const sts_web_host& host,
                                                 const std::string& domain);

}  // namespace callforward::smtpclient
