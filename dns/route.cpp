#include "dns/route.h"

#include <algorithm>
#include <random>
#include <utility>

namespace callforward::dns {

namespace {

route without_hosts(routing r, std::string why) {
    return {.routing = r, .hosts = {}, .why = std::move(why)};
}

// RFC 5321 section 5.1: a domain without MX records is treated as if it had one, of preference 0,
// naming itself. After a CNAME it is the canonical name that is treated so: either of them may be
// us.
route implicit_route(const domain& to, const answer<mx>& exchangers, const own_names& self) {
    if (self.contains(to.name()) || self.contains(exchangers.canonical))
        return without_hosts(routing::loop, to.name() + " has no MX records and is this host");
    return {.routing = routing::implicit,
            .hosts = {{.name = to, .preference = 0}},
            .why = to.name() + " has no MX records"};
}

// Every host once, at its best preference, best first. Shuffled before it is sorted, so that equal
// preferences share the load (RFC 5321 section 5.1: "the sender-SMTP MUST randomize them").
std::vector<mail_host> in_order(const std::vector<mx>& records, std::uint32_t shuffle_seed) {
    std::vector<mail_host> hosts;
    for (const mx& record : records)
        if (record.exchange) hosts.push_back({*record.exchange, record.preference});
    std::mt19937 random(shuffle_seed);
    std::shuffle(hosts.begin(), hosts.end(), random);
    std::stable_sort(hosts.begin(), hosts.end(), [](const mail_host& a, const mail_host& b) {
        return a.preference < b.preference;
    });
    std::set<std::string, std::less<>> seen;
    std::erase_if(hosts, [&](const mail_host& h) { return !seen.insert(h.name.name()).second; });
    return hosts;
}

// "All MX records with a preference equal to or worse than its own are discarded": whoever comes
// after us would send the mail back to us.
void drop_from_self_on(std::vector<mail_host>& hosts, const own_names& self) {
    const auto us = std::find_if(hosts.begin(), hosts.end(), [&](const mail_host& h) {
        return self.contains(h.name.name());
    });
    if (us == hosts.end()) return;
    const std::uint16_t own_preference = us->preference;
    std::erase_if(hosts, [&](const mail_host& h) { return h.preference >= own_preference; });
}

route listed_route(const domain& to,
                   const answer<mx>& exchangers,
                   const own_names& self,
                   std::uint32_t shuffle_seed) {
    const std::vector<mx>& records = exchangers.records;
    if (records.size() == 1 && !records.front().exchange)
        return without_hosts(routing::null_mx, to.name() + " takes no mail (null MX)");
    std::vector<mail_host> hosts = in_order(records, shuffle_seed);
    if (hosts.empty())
        // Not the implicit MX: "If MX records are present, but none of them are usable, [...] this
        // situation MUST be reported as an error."
        return without_hosts(routing::unusable, "no MX record of " + to.name() + " names a host");
    drop_from_self_on(hosts, self);
    if (hosts.empty())
        return without_hosts(routing::loop, "the best MX of " + to.name() + " is this host");
    if (hosts.size() > max_hosts) hosts.erase(hosts.begin() + max_hosts, hosts.end());
    return {.routing = routing::listed, .hosts = std::move(hosts), .why = {}};
}

}  // namespace

std::string_view to_string(routing r) {
    switch (r) {
        case routing::listed:
            return "listed";
        case routing::implicit:
            return "implicit";
        case routing::null_mx:
            return "null MX";
        case routing::no_such_domain:
            return "no such domain";
        case routing::loop:
            return "loop";
        case routing::unusable:
            return "unusable";
        case routing::unavailable:
            return "unavailable";
    }
    return "?";
}

route route_mail(const domain& to,
                 const answer<mx>& exchangers,
                 const own_names& self,
                 std::uint32_t shuffle_seed) {
    switch (exchangers.status) {
        case status::found:
            return listed_route(to, exchangers, self, shuffle_seed);
        case status::no_data:
            return implicit_route(to, exchangers, self);
        case status::no_such_name:
            return without_hosts(routing::no_such_domain, to.name() + " does not exist");
        case status::unavailable:
            break;
    }
    return without_hosts(routing::unavailable, "MX of " + to.name() + ": " + exchangers.why);
}

}  // namespace callforward::dns
