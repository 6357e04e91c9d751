#include "smtpclient/tls_plan.h"

#include "smtpclient/certificate.h"

#include <algorithm>
#include <utility>

namespace callforward::smtpclient {

namespace {

constexpr std::size_t most_records = 64;

std::string trusted_by(const tls_policy& policy) {
    return policy.authorities.is_given() ? policy.authorities.path() : "this system";
}

tls_demand demand_for_ca(const tls_policy& policy, const target& t, const std::string& own_name) {
    tls_demand demand;
    demand.by = tls_demand::proof::ca;
    const bool here = !t.socket_path.empty();
    demand.names = policy.names_wanted(here ? own_name : t.name, here ? own_name : t.nexthop);
    demand.authorities = trusted_by(policy);
    return demand;
}

}  // namespace

bool may_rise_to_dane(tls_level level) {
    return level == tls_level::may || level == tls_level::dane || level == tls_level::dane_only;
}

tls_plan plan_tls(const tls_policy& policy, const target& t, const std::string& own_name) {
    tls_plan plan;
    plan.level = policy.level;
    switch (policy.level) {
        case tls_level::none:
        case tls_level::may:
        case tls_level::encrypt:
        case tls_level::dane:
        case tls_level::dane_only:
            break;
        case tls_level::fingerprint:
            plan.demand.by = tls_demand::proof::fingerprint;
            plan.demand.fingerprints = policy.fingerprints;
            break;
        case tls_level::verify:
        case tls_level::secure:
            plan.demand = demand_for_ca(policy, t, own_name);
            break;
    }
    plan.demand.server_name = t.name;
    return plan;
}

tls_plan without_tlsa(tls_plan plan, const std::string& why) {
    if (plan.level == tls_level::dane_only) plan.fault = "no DANE: " + why;
    if (plan.level == tls_level::dane) plan.level = tls_level::may;
    return plan;
}

tls_plan by_tlsa(tls_plan plan,
                 std::vector<dns::tlsa> untrusted,
                 const target& t,
                 const std::string& base) {
    std::erase_if(untrusted, [](const auto& r) { return !is_usable(r); });
    if (untrusted.size() > most_records) untrusted.resize(most_records);
    if (untrusted.empty()) {
        // RFC 7672 section 2.2: somebody means TLS to be used, if not how.
        if (plan.level == tls_level::dane_only)
            plan.fault = "no DANE: none of the TLSA records of " + base + " is usable";
        plan.level = tls_level::encrypt;
        return plan;
    }
    plan.level = tls_level::dane;
    plan.demand.by = tls_demand::proof::dane;
    plan.demand.server_name = base;
    plan.demand.names = {base};
    // RFC 7672 section 3.2.2.
    for (const auto& name : {t.nexthop, t.nexthop_canonical}) {
        if (t.nexthop_counts && !name.empty()) plan.demand.names.push_back(name);
    }
    plan.demand.records = std::move(untrusted);
    return plan;
}

tls_plan by_sts(tls_plan plan, const tls_policy& policy, const target& t) {
    if (t.sts == sts_policy::mode::none) return plan;
    // DANE wins (RFC 8461 section 2), and so does what the operator has set stricter.
    if (plan.level != tls_level::none && plan.level != tls_level::may &&
        plan.level != tls_level::encrypt)
        return plan;
    plan.demand.only_watched = t.sts == sts_policy::mode::testing;
    if (!plan.demand.only_watched) plan.level = tls_level::verify;
    plan.demand.by = tls_demand::proof::ca;
    plan.demand.names = {t.name};
    plan.demand.authorities = trusted_by(policy);
    return plan;
}

}  // namespace callforward::smtpclient
