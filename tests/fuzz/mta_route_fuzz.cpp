// The route that an MTA's macros name: whatever they say, bounded, with advice that can be logged,
// and of a kind that agrees with what it holds. The input: the MTA, then five macros, a NUL after
// each.
#include "milter/mta_route.h"
#include "tests/fuzz/input.h"

#include <cstdlib>

using namespace callforward;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const milter::routing_settings settings = [] {
        milter::routing_settings s;
        s.mailers["esmtp2525"] = {false, smtpclient::protocol::smtp, 2525};
        s.mailers["archive"] = {true, smtpclient::protocol::smtp, 0};
        return s;
    }();
    fuzz::input in(data, size);
    milter::envelope e;
    e.mta.version = in.flag() ? "Postfix 3.7.11" : "8.17.1.9";
    e.rcpt_mailer = in.text();
    e.rcpt_host = in.text();
    e.rcpt_address = in.text();
    e.rcpt = in.text();
    const auto route = milter::route_from_macros(e, settings);
    const bool asks = route.kind == milter::route_kind::ask;
    if (!fuzz::is_printable_line(route.why)) std::abort();
    if (asks != (route.to.recipient_mx || !route.to.hops.empty())) std::abort();
    if (route.to.recipient_mx && !route.to.hops.empty()) std::abort();
    if (route.to.hops.size() > 32) std::abort();
    if (route.kind == milter::route_kind::not_understood && route.why.empty()) std::abort();
    for (const auto& hop : route.to.hops) {
        if (hop.host.empty() && !hop.address && hop.socket_path.empty()) std::abort();
        if (hop.socket_path.size() > 107) std::abort();
        std::string error;
        if (hop.socket_path.empty() &&
            smtpclient::parse_next_hop(smtpclient::to_string(hop), error) != hop) {
            std::abort();
        }
    }
    const bool given = route.rcpt == e.rcpt || '<' + route.rcpt + '>' == e.rcpt;
    if (!given && route.rcpt != e.rcpt_address) std::abort();
    return 0;
}
