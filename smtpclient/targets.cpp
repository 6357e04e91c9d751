#include "smtpclient/targets.h"

#include "dns/hosts_file.h"
#include "smtpclient/answer_by.h"
#include "smtpclient/mta_sts.h"
#include "smtpclient/reach.h"

#include <algorithm>

namespace callforward::smtpclient {

namespace {

verdict nothing_found(verdict_class c, reason r, std::string why) {
    verdict v;
    v.finding = {c, r};
    v.stage = stage::route;
    v.detail = std::move(why);
    return v;
}

void tell_addresses(const trace& observer,
                    const std::string& name,
                    const dns::answer<dns::ip_address>& answer) {
    std::string line = "address of " + name + ':';
    for (const auto& address : answer.records) line += ' ' + address.text();
    observer('*', line + ", TTL " + std::to_string(answer.ttl.count()) + " s");
}

// Where the MTA finds a relay of the local network, too; mail exchangers are a matter of DNS alone.
std::vector<dns::ip_address> addresses_beside_dns(const reach& r,
                                                  const target& t,
                                                  const dns::domain& name,
                                                  const trace& observer) {
    if (t.from_mx) return {};
    const auto addresses = interleave(dns::addresses_in_hosts_file(r.hosts_file, name));
    if (!addresses.empty() && observer) {
        std::string line = "address of " + t.name + " in " + r.hosts_file + ':';
        for (const auto& address : addresses) line += ' ' + address.text();
        observer('*', line);
    }
    return addresses;
}

// Whom a name may not lead to. The unspecified address is in no list that an operator would think
// of, and leads to the loopback of this machine.
bool is_kept_out(const reach& r,
                 const target& t,
                 const dns::ip_address& address,
                 const trace& observer) {
    if (t.literal && t.literal_was_configured) return false;
    const bool nowhere = address.is_unspecified();
    if (!nowhere && !dns::contains(r.deny, address)) return false;
    if (observer) {
        observer(
            '*',
            address.text() + (nowhere ? " is the unspecified address" : " is in [routing] deny"));
    }
    return true;
}

// A next hop on this machine listens elsewhere; port 25 of our own addresses is the MTA that asks.
bool may_be_this_host(const reach& r, const target& t) {
    // A literal is found by itself where it is the recipient's.
    const bool found_by_itself = t.from_mx || !t.literal_was_configured;
    return found_by_itself && t.port == 25 && !r.my_addresses.empty();
}

std::string words_for_this_host(const target& t) {
    return t.text() + " has an address of this host";
}

}  // namespace

target_finder::target_finder(dns::resolver& resolver,
                             const reach& r,
                             mta_sts& sts,
                             const question& q)
    : resolver_(resolver), reach_(r), sts_(sts), question_(q) {}

bool target_finder::is_recipients(const dns::domain& name) const {
    return question_.recipient.domain() == name;
}

verdict target_finder::nothing(verdict_class c, reason r, std::string why) const {
    tell(why);
    return nothing_found(c, r, std::move(why));
}

verdict target_finder::no_mail_for(const dns::domain& name, reason r, std::string why) const {
    if (is_recipients(name)) return nothing(verdict_class::undeliverable, r, std::move(why));
    return nothing(verdict_class::unreachable, reason::no_usable_host, std::move(why));
}

void target_finder::tell(const std::string& what) const {
    if (question_.trace) question_.trace('*', what);
}

// The MTA that asks is this host, too, whatever the system calls itself.
dns::own_names target_finder::own_names() const {
    dns::own_names names = reach_.my_names;
    if (!question_.helo.empty()) names.insert(question_.helo);
    return names;
}

asio::awaitable<target_finder::targets> target_finder::targets_of_hop(std::size_t index,
                                                                      std::uint32_t seed) {
    target t;
    t.port = question_.by->port;
    if (question_.to.recipient_mx) {
        if (question_.recipient.domain()) {
            const dns::domain name = *question_.recipient.domain();
            auto found = co_await targets_of_domain(name, t, seed);
            if (question_.by->tls.mta_sts) found = co_await by_sts(std::move(found), name);
            co_return found;
        }
        t.literal = question_.recipient.literal();
        t.literal_was_configured = false;
        targets one;
        one.targets.push_back(std::move(t));
        co_return one;
    }
    const next_hop& hop = question_.to.hops[index];
    t.protocol = hop.protocol;
    t.name = hop.host;
    t.nexthop = hop.host;
    t.literal = hop.address;
    t.socket_path = hop.socket_path;
    if (hop.protocol == protocol::lmtp) t.port = 24;
    if (hop.protocol == protocol::smtps) t.port = 465;
    if (hop.port != 0) t.port = hop.port;
    if (!t.name.empty()) names_.push_back(t.name);
    const auto name = dns::domain::parse(hop.host);
    if (hop.look_up_mx && name) {
        auto found = co_await targets_of_domain(*name, t, seed);
        // It speaks about mail for the domain, not about a relay on the way there.
        if (question_.by->tls.mta_sts && is_recipients(*name)) {
            found = co_await by_sts(std::move(found), *name);
        }
        co_return found;
    }
    targets one;
    one.targets.push_back(std::move(t));
    co_return one;
}

asio::awaitable<target_finder::targets> target_finder::targets_of_domain(dns::domain name,
                                                                         target like,
                                                                         std::uint32_t seed) {
    auto look_up = resolver_.mail_exchangers(name);
    const auto answer = co_await answer_by(question_.deadline, std::move(look_up));
    const dns::route route = dns::route_mail(name, answer, own_names(), seed);
    targets found;
    const std::string subject = name.name();
    like.nexthop = subject;
    if (answer.canonical != subject) like.nexthop_canonical = answer.canonical;
    like.secure_way = answer.secure;
    switch (route.routing) {
        case dns::routing::listed:
        case dns::routing::implicit:
            for (const auto& host : route.hosts) {
                like.name = host.name.name();
                like.from_mx = true;
                like.preference = host.preference;
                like.is_recipient_domain =
                    route.routing == dns::routing::implicit && is_recipients(name);
                found.targets.push_back(like);
                exchangers_.push_back(like.name);
                // The recipient's own domain is no secret of the next hop's.
                if (!is_recipients(host.name)) names_.push_back(like.name);
                tell("MX of " + subject + ": " + like.name +
                     (route.routing == dns::routing::implicit
                          ? " (implicit)"
                          : ", preference " + std::to_string(host.preference)) +
                     ", TTL " + std::to_string(answer.ttl.count()) + " s" +
                     (answer.secure ? ", secure" : ""));
            }
            break;
        case dns::routing::null_mx:
            found.verdict = no_mail_for(name, reason::null_mx, subject + " has a null MX");
            break;
        case dns::routing::no_such_domain:
            found.verdict = no_mail_for(name, reason::no_such_domain, "no such domain: " + subject);
            break;
        case dns::routing::loop:
            found.verdict = nothing(verdict_class::unreachable,
                                    reason::loop,
                                    "every MX host of " + subject + " is this host");
            break;
        case dns::routing::unusable:
            found.verdict = nothing(verdict_class::unreachable,
                                    reason::no_usable_host,
                                    "no MX record of " + subject + " names a host");
            break;
        case dns::routing::unavailable:
            found.verdict = nothing(verdict_class::unreachable, reason::dns_unavailable, route.why);
            break;
    }
    co_return found;
}

// RFC 8461 section 5: under enforce, mail exchangers that the policy does not list are none, and
// those that it lists are to be verified.
asio::awaitable<target_finder::targets> target_finder::by_sts(targets found, dns::domain name) {
    const bool has_smtp = std::any_of(found.targets.begin(),
                                      found.targets.end(),
                                      [](const auto& t) { return t.protocol == protocol::smtp; });
    if (!has_smtp) co_return found;
    const mta_sts::way way{resolver_, reach_.deny, question_.trace};
    const auto policy = co_await sts_.policy_of(name, way, question_.deadline);
    if (!policy || policy->how == sts_policy::mode::none) co_return found;
    const bool enforced = policy->how == sts_policy::mode::enforce;
    for (auto& t : found.targets) {
        if (policy->covers(t.name)) {
            t.sts = policy->how;
            continue;
        }
        const std::string word = "MTA-STS of " + name.name() +
                                 (enforced ? " (enforce)" : " (testing)") + " does not list " +
                                 t.name;
        tell(word);
        if (remark_.empty()) remark_ = word;
    }
    if (!enforced) co_return found;
    std::erase_if(found.targets, [&](const target& t) { return t.sts != policy->how; });
    if (found.targets.empty())
        found.verdict =
            nothing(verdict_class::insecure,
                    reason::certificate,
                    "the MTA-STS policy of " + name.name() + " lists none of its mail exchangers");
    co_return found;
}

asio::awaitable<found_endpoints> find_endpoints(dns::resolver& resolver,
                                                std::shared_ptr<const reach> r,
                                                target t,
                                                trace observer) {
    found_endpoints found;
    const auto none = [&](reason why, const std::string& detail) {
        if (observer) observer('*', detail);
        found.verdict = nothing_found(verdict_class::unreachable, why, detail);
    };
    if (!t.socket_path.empty()) {
        found.endpoints.push_back({std::nullopt, 0, t.socket_path});
        co_return found;
    }
    std::vector<dns::ip_address> addresses;
    if (t.literal) {
        addresses.push_back(*t.literal);
    } else {
        const auto name = dns::domain::parse(t.name);
        const auto answer = co_await resolver.addresses(*name);
        switch (answer.status) {
            case dns::status::found:
                addresses = interleave(answer.records);
                found.secure = answer.secure;
                found.canonical = answer.canonical;
                if (observer) tell_addresses(observer, t.name, answer);
                break;
            case dns::status::no_data:
            case dns::status::no_such_name:
                addresses = addresses_beside_dns(*r, t, *name, observer);
                if (!addresses.empty()) break;
                found.no_addresses = true;
                none(reason::no_usable_host, t.name + " has no address");
                co_return found;
            case dns::status::unavailable:
                none(reason::dns_unavailable, "address of " + t.name + ": " + answer.why);
                co_return found;
        }
    }
    for (const auto& address : addresses) {
        if (may_be_this_host(*r, t) && r->my_addresses.contains(address)) {
            found.is_self = true;
            continue;
        }
        if (is_kept_out(*r, t, address, observer)) continue;
        found.endpoints.push_back({address, t.port, {}});
    }
    const std::string who = t.text();
    if (found.is_self) {
        found.endpoints.clear();
        none(reason::loop, words_for_this_host(t));
    } else if (found.endpoints.empty()) {
        none(reason::no_usable_host,
             "no address of " + who + " may be contacted: see [routing] deny");
    }
    co_return found;
}

asio::awaitable<std::optional<verdict>> find_this_host(dns::resolver& resolver,
                                                       std::shared_ptr<const reach> r,
                                                       std::vector<target> equals,
                                                       steady_time deadline,
                                                       trace observer) {
    std::erase_if(equals, [&](const target& t) { return !may_be_this_host(*r, t); });
    const auto executor = co_await asio::this_coro::executor;
    std::vector<std::shared_ptr<pending_look_up<dns::ip_address>>> pending;
    for (const auto& t : equals) {
        auto look_up = resolver.addresses(dns::domain::parse(t.name).value());
        pending.push_back(begin_look_up(executor, deadline, std::move(look_up)));
    }
    for (std::size_t i = 0; i < equals.size(); ++i) {
        const auto answer = co_await answer_to(pending[i]);
        const target& t = equals[i];
        const bool is_self = std::any_of(
            answer.records.begin(), answer.records.end(), [&](const dns::ip_address& a) {
                return r->my_addresses.contains(a);
            });
        if (!is_self) continue;
        const std::string words = words_for_this_host(t);
        if (observer) observer('*', words);
        auto own = nothing_found(verdict_class::unreachable, reason::loop, words);
        own.host = t.name;
        co_return own;
    }
    co_return std::nullopt;
}

}  // namespace callforward::smtpclient
