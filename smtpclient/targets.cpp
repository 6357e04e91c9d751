#include "smtpclient/targets.h"

#include "smtpclient/call_forward.h"

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <memory>

namespace callforward::smtpclient {

namespace {

// A question for the resolver, shared by the one who waits for it and the one who asks: the
// resolver has a patience of its own, which may be longer than this question's.
template <class Record>
struct look_up {
    explicit look_up(const asio::any_io_executor& executor) : answered(executor) {}

    asio::steady_timer answered;  // cancelled when it is
    std::optional<dns::answer<Record>> what;
};

template <class Record>
asio::awaitable<void> ask(std::shared_ptr<look_up<Record>> l,
                          asio::awaitable<dns::answer<Record>> question) {
    l->what = co_await std::move(question);
    l->answered.cancel();
}

template <class Record>
asio::awaitable<dns::answer<Record>> answer_by(steady_time deadline,
                                               asio::awaitable<dns::answer<Record>> question) {
    const auto executor = co_await asio::this_coro::executor;
    const auto l = std::make_shared<look_up<Record>>(executor);
    l->answered.expires_at(deadline);
    auto asking = ask<Record>(l, std::move(question));
    asio::co_spawn(executor, std::move(asking), asio::detached);
    if (!l->what) {
        std::error_code ignored;
        auto token = asio::redirect_error(asio::use_awaitable, ignored);
        co_await l->answered.async_wait(token);
    }
    if (l->what) co_return std::move(*l->what);
    dns::answer<Record> late;
    late.why = "no answer in time";
    co_return late;
}

verdict nothing_found(verdict_class c, reason r, std::string why) {
    verdict v;
    v.finding = {c, r};
    v.stage = stage::route;
    v.detail = std::move(why);
    return v;
}

}  // namespace

target_finder::target_finder(dns::resolver& resolver, const reach& r, const question& q)
    : resolver_(resolver), reach_(r), question_(q) {}

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

asio::awaitable<target_finder::targets> target_finder::targets_of_hop(std::size_t index,
                                                                      std::uint32_t seed) {
    target t;
    t.port = question_.by->port;
    if (question_.to.recipient_mx) {
        if (question_.recipient.domain()) {
            const dns::domain name = *question_.recipient.domain();
            co_return co_await targets_of_domain(name, t, seed);
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
    t.literal = hop.address;
    t.socket_path = hop.socket_path;
    if (hop.protocol == protocol::lmtp) t.port = 24;
    if (hop.protocol == protocol::smtps) t.port = 465;
    if (hop.port != 0) t.port = hop.port;
    if (!t.name.empty()) names_.push_back(t.name);
    const auto name = dns::domain::parse(hop.host);
    if (hop.look_up_mx && name) co_return co_await targets_of_domain(*name, t, seed);
    targets one;
    one.targets.push_back(std::move(t));
    co_return one;
}

asio::awaitable<target_finder::targets> target_finder::targets_of_domain(dns::domain name,
                                                                         target like,
                                                                         std::uint32_t seed) {
    auto look_up = resolver_.mail_exchangers(name);
    const auto answer = co_await answer_by(question_.deadline, std::move(look_up));
    const dns::route route = dns::route_mail(name, answer, reach_.my_names, seed);
    targets found;
    const std::string subject = name.name();
    switch (route.routing) {
        case dns::routing::listed:
        case dns::routing::implicit:
            for (const auto& host : route.hosts) {
                like.name = host.name.name();
                like.from_mx = true;
                like.is_recipient_domain =
                    route.routing == dns::routing::implicit && is_recipients(name);
                found.targets.push_back(like);
                exchangers_.push_back(like.name);
                // The recipient's own domain is no secret of the next hop's.
                if (!is_recipients(host.name)) names_.push_back(like.name);
                tell("MX of " + subject + ": " + like.name +
                     (route.routing == dns::routing::implicit
                          ? " (implicit)"
                          : ", preference " + std::to_string(host.preference)));
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
            found.verdict = nothing(verdict_class::unreachable,
                                    reason::dns_unavailable,
                                    "MX of " + subject + ": " + route.why);
            break;
    }
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
                break;
            case dns::status::no_data:
            case dns::status::no_such_name:
                found.no_addresses = true;
                none(reason::no_usable_host, t.name + " has no address");
                co_return found;
            case dns::status::unavailable:
                none(reason::dns_unavailable, "address of " + t.name + ": " + answer.why);
                co_return found;
        }
    }
    for (const auto& address : addresses) {
        const bool exempt = t.literal && t.literal_was_configured;
        if (!exempt && dns::contains(r->deny, address)) {
            if (observer) observer('*', address.text() + " is in [routing] deny");
            continue;
        }
        // A next hop on this machine listens elsewhere; port 25 of our own addresses is the MTA
        // that asks.
        // A literal is found by itself where it is the recipient's.
        const bool found_by_itself = t.from_mx || !t.literal_was_configured;
        if (found_by_itself && t.port == 25 && r->my_addresses.contains(address)) {
            found.is_self = true;
        }
        found.endpoints.push_back({address, t.port, {}});
    }
    const std::string who = t.name.empty() ? t.literal->text() : t.name;
    if (found.is_self) {
        found.endpoints.clear();
        none(reason::loop, who + " has an address of this host");
    } else if (found.endpoints.empty()) {
        none(reason::no_usable_host, "all addresses of " + who + " are in [routing] deny");
    }
    co_return found;
}

}  // namespace callforward::smtpclient
