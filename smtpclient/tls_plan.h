// What a host's connections must prove before anything is asked over them: from the policy, the way
// that led to the host, its TLSA records (RFC 7672) and its domain's MTA-STS policy. Pure; dane.h
// looks the records up.
//
// A plan never asks for less than the policy, but that dane means may where there is nothing to go
// by. A fault says why the host must be left alone.
#pragma once

#include "dns/answer.h"
#include "smtpclient/target.h"
#include "smtpclient/tls_context.h"
#include "smtpclient/tls_policy.h"

#include <string>
#include <vector>

namespace callforward::smtpclient {

struct tls_plan {
    tls_level level = tls_level::may;  // none, may, or one that needs TLS
    tls_demand demand;
    std::string fault;  // dane_failed: why the host must be left alone; "" when it need not
};

// Without DANE. own_name: what stands for the name of a next hop behind a unix socket, as in
// Postfix.
[[nodiscard]] tls_plan plan_tls(const tls_policy& policy,
                                const target& t,
                                const std::string& own_name);

[[nodiscard]] bool may_rise_to_dane(tls_level level);

// The plan changed by the TLSA records of the base domain, signed and at least one. Those that
// cannot be used are passed over; with none left TLS is needed, unproven, or under dane-only the
// host is at fault. At most 64 count.
[[nodiscard]] tls_plan by_tlsa(tls_plan plan,
                               std::vector<dns::tlsa> untrusted,
                               const target& t,
                               const std::string& base);
// ... and by there being none to go by.
[[nodiscard]] tls_plan without_tlsa(tls_plan plan, const std::string& why);

// The plan, DANE considered, changed by what an MTA-STS policy enforces, or watches.
[[nodiscard]] tls_plan by_sts(tls_plan plan, const tls_policy& policy, const target& t);

}  // namespace callforward::smtpclient
