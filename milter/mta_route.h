// Where the MTA itself would deliver: its {rcpt_mailer}, {rcpt_host} and {rcpt_addr} as a
// destination.
//
// The grammars are those of Postfix (a list split at comma or blank, "[host]:port", "host:port"
// with MX, "unix:PATH" and "inet:" for lmtp) and of Sendmail (a list split at ':' outside brackets,
// one trailing dot, no ports); {v} says which. Pure: nothing is looked up, and ports of hops
// without one stay 0 (the policy's port, 24 for lmtp). At most 32 hops; more are left out, and why
// says so. All macros are untrusted, `why` is printable.
// Not seen from here: -o options of a Postfix transport, smtp_fallback_relay, Sendmail's ports and
// the socket of an LMTP mailer, and the case of letters beyond ASCII in a local part.
#pragma once

#include "milter/envelope.h"
#include "milter/settings.h"
#include "smtpclient/question.h"

#include <string>
#include <vector>

namespace callforward::milter {

enum class route_kind {
    ask,
    local,           // delivered here, or to what can not be asked: reason local
    not_understood,  // the MTA sends it on, but by a route that we can not read; why is advice
};

struct mta_route {
    route_kind kind = route_kind::local;
    smtpclient::destination to;  // for ask
    std::string rcpt;            // the address to send, without brackets; not yet parsed
    std::string why;             // for the log; may be set with any kind

    // What {rcpt_mailer} and {rcpt_host} say by themselves. An MTA has few routes, and each has
    // many recipients: they are read again only when they are others than at the last one.
    struct reading {
        std::string mailer;  // "": nothing was read
        std::string host;
        bool by_postfix = false;
        bool by_sendmail = false;  // neither: taken for Sendmail, but its advice says more
        route_kind kind = route_kind::local;
        std::vector<smtpclient::next_hop> hops;
        std::string text;  // of hops, as a destination's
        std::string why;
    };
    reading last;

    void append_text(std::string& to_text) const;  // what to.append_text() would
};

[[nodiscard]] mta_route route_from_macros(const envelope& e, const routing_settings& settings);
// The same, in the memory that `route` has, of which `last` was read by the same settings.
void route_from_macros(const envelope& e, const routing_settings& settings, mta_route& route);

}  // namespace callforward::milter
