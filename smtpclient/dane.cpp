#include "smtpclient/dane.h"

#include "smtpclient/printable.h"

#include <utility>
#include <vector>

namespace callforward::smtpclient {

namespace {

std::string told(const std::string& base, std::size_t published, const tls_plan& plan) {
    return "TLSA of " + base + ": " + std::to_string(published) +
           (published == 1 ? " record" : " records") + ", usable " +
           std::to_string(plan.demand.records.size());
}

}  // namespace

asio::awaitable<tls_plan> plan_dane(dns::resolver& resolver,
                                    tls_plan plan,
                                    target t,
                                    bool secure_addresses,
                                    std::string canonical,
                                    trace observer) {
    if (!may_rise_to_dane(plan.level)) co_return plan;
    const auto name = dns::domain::parse(t.name);
    if (!name) co_return without_tlsa(std::move(plan), "the next hop has no name");
    if (!t.secure_way)
        co_return without_tlsa(std::move(plan), "the MX of " + t.nexthop + " is not signed");
    if (!secure_addresses)
        co_return without_tlsa(std::move(plan), "the addresses of " + t.name + " are not signed");
    // RFC 7672 section 2.2.2: the name that CNAMEs lead to, and then the one they begin with.
    std::vector<dns::domain> bases;
    const auto target_of_alias = dns::domain::parse(canonical);
    if (target_of_alias && *target_of_alias != *name) bases.push_back(*target_of_alias);
    bases.push_back(*name);
    // All made here: when the first has its answer the resolver may be gone.
    std::vector<asio::awaitable<dns::answer<dns::tlsa>>> look_ups;
    look_ups.reserve(bases.size());
    for (const auto& base : bases) look_ups.push_back(resolver.tlsa_records(base, t.port));
    for (std::size_t i = 0; i < bases.size(); ++i) {
        const auto& base = bases[i];
        const auto answer = co_await std::move(look_ups[i]);
        switch (answer.status) {
            case dns::status::found:
                if (!answer.secure) break;
                plan = by_tlsa(std::move(plan), answer.records, t, base.name());
                if (observer) observer('*', told(base.name(), answer.records.size(), plan));
                co_return plan;
            case dns::status::no_data:
            case dns::status::no_such_name:
                break;
            case dns::status::unavailable:
                plan.fault = "TLSA of " + base.name() + ": " + printable(answer.why);
                co_return plan;
        }
    }
    co_return without_tlsa(std::move(plan), t.name + " publishes no TLSA records");
}

}  // namespace callforward::smtpclient
