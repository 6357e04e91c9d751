#include "milter/recipient_check.h"

#include "milter/client_of.h"
#include "milter/log.h"
#include "milter/mail_parameters.h"
#include "milter/mta_route.h"
#include "milter/recipient_snapshot.h"
#include "milter/script_counsel.h"
#include "smtpclient/printable.h"
#include "smtpclient/reach.h"

#include <cerrno>
#include <system_error>
#include <utility>

namespace callforward::milter {

namespace {

using clock = std::chrono::steady_clock;
using smtpclient::mailbox;
using smtpclient::reason;
using smtpclient::verdict;
using smtpclient::verdict_class;

constexpr std::chrono::seconds within_of_postfix{
    12};  // it waits 30 s, and libmilter can double a wait
constexpr std::chrono::seconds within_of_others{4};  // Sendmail waits 10 s
constexpr std::size_t most_advice = 1000;
constexpr const char* unsaid = "the MTA does not say where it delivers";

void set_sender(smtpclient::question& q, const policy& p, const envelope& e) {
    q.original_sender = false;
    switch (p.sender) {
        case sender_choice::original:
            // Nobody's mail is refused because the next hop dislikes the null sender.
            q.original_sender = e.sender() != nullptr;
            if (q.original_sender) {
                q.sender = e.from();
            } else {
                q.sender.clear();
            }
            break;
        case sender_choice::null:
            q.sender.clear();
            break;
        case sender_choice::fixed:
            q.sender = p.fixed_sender;
            break;
    }
}

bool asks_otherwise(const policy& a, const policy& b) {
    return a.route != b.route || a.hops != b.hops || a.fingerprint != b.fingerprint;
}

// What is no mailbox still has a domain, whose scope and policy it falls under. The empty local
// part is on nobody's list.
mailbox nobody_at_domain_of(std::string_view untrusted) {
    if (untrusted.ends_with('>')) untrusted.remove_suffix(1);
    const auto at = untrusted.rfind('@');
    if (at == std::string_view::npos) return {};
    return mailbox::parse("\"\"" + std::string(untrusted.substr(at))).value_or(mailbox{});
}

}  // namespace

std::string forbidden_socket(const verdict& v, const smtpclient::destination& to) {
    if (v.finding.verdict_class != verdict_class::unreachable) return {};
    const std::string why = ": " + std::generic_category().message(EACCES);
    for (const auto& hop : to.hops) {
        if (hop.socket_path.empty()) continue;
        std::string path = smtpclient::printable(hop.socket_path, 107);
        if (v.detail.find(path + why) != std::string::npos) return path;
    }
    return {};
}

recipient_check::recipient_check(engine& e, std::shared_ptr<const settings> s)
    : engine_(e), snapshot_(std::make_shared<const snapshot>(std::move(s))) {}

recipient_check::~recipient_check() = default;

void recipient_check::use(std::shared_ptr<const settings> s) {
    auto fresh = std::make_shared<const snapshot>(std::move(s));
    const std::lock_guard lock(mutex_);
    snapshot_ = std::move(fresh);
}

std::shared_ptr<const recipient_check::snapshot> recipient_check::current() const {
    const std::lock_guard lock(mutex_);
    return snapshot_;
}

std::chrono::milliseconds recipient_check::answer_within(const settings& s,
                                                         const mta_identity& mta) {
    if (s.milter.answer_within) return *s.milter.answer_within;
    return mta.is_postfix() ? within_of_postfix : within_of_others;
}

std::chrono::milliseconds recipient_check::longest_wait() const {
    const auto now = current();
    return now->all->milter.answer_within.value_or(within_of_postfix);
}

decision recipient_check::check(const envelope& e, const keep_waiting& wait) {
    const auto now = current();
    const auto work = inquiries_.begin(now->number, now->all->default_policy);
    inquiry& i = *work;
    examine(*now, e, wait, i);
    decision d = decide_about(*now, e, i);
    log_rcpt(e, d, i, engine_.seen());
    if (i.by->mode != policy_mode::enforce) return {};
    if (d.action != action::accept) add_trace_id(d, i.id);
    return d;
}

void recipient_check::examine(const snapshot& now,
                              const envelope& e,
                              const keep_waiting& wait,
                              inquiry& i) {
    if (!is_to_be_asked(now, e, i)) return;
    const settings& s = *now.all;
    smtpclient::question& q = i.asked;
    prepare(e, i);
    patience p;
    p.limit = i.begun + answer_within(s, e.mta);
    // Sendmail takes a sign for an acceptance, and without a longer time nobody needs one.
    if (e.mta.is_postfix() && s.milter.answer_within) p.give_sign = wait;
    answer a = engine_.ask(q, i.by->fingerprint, p);
    i.source = a.source;
    i.known = std::move(a.verdict);
    i.away = std::move(a.away);
    i.in_doubt = a.in_doubt;
    if (!i.known) return;
    if (const std::string path = forbidden_socket(i.away ? *i.away : *i.known, q.to);
        !path.empty()) {
        advise_once(
            "socket " + path,
            "callforward may not open " + path + ": see MTA SETUP in callforward-milter(8)");
    }
    if (i.known->finding.reason != reason::loop) return;
    const mailbox& recipient = q.recipient;
    advise_once("loop " + recipient.key().substr(recipient.local_part().size()),
                i.known->detail + "; name the server that has the mailboxes in [domain.\"" +
                    smtpclient::printable(recipient.domain_part()) + "\"] route");
}

// What examine() asks with, once it is known that it asks, and where.
void recipient_check::prepare(const envelope& e, inquiry& i) {
    smtpclient::question& q = i.asked;
    set_sender(q, *i.by, e);
    q.parameters = parse_parameters(e.mail_parameters);
    q.by = i.by->transport;
    q.client = client_of(e, *q.by);
    if (!q.helo.empty() && i.helo_of == e.mta.hostname) return;  // as at the last RCPT
    if (!dns::assign_name(q.helo, e.mta.hostname)) q.helo = smtpclient::own_host_name();
    i.helo_of = e.mta.hostname;
}

void recipient_check::name_parties(const settings& s, const envelope& e, inquiry& i) {
    route_from_macros(e, s.routing, i.told);
    // A local user's macro is only its name (Sendmail); then the client's words say more.
    const bool rewritten = i.told.rcpt.find('@') != std::string::npos;
    const std::string& named = rewritten ? i.told.rcpt : e.rcpt;
    i.is_mailbox = i.asked.recipient.assign(named);
    if (i.is_mailbox) {
        i.asked.recipient.append_address(i.rcpt);
    } else {
        i.rcpt = named;
        const auto user = mailbox::parse_local_user(named);  // on the lists by the local part
        i.is_bare = user.has_value();
        i.asked.recipient = user ? *user : nobody_at_domain_of(named);
    }
}

bool recipient_check::is_to_be_asked(const snapshot& now, const envelope& e, inquiry& i) {
    const settings& s = *now.all;
    name_parties(s, e, i);
    i.by = &policy_for(s, i.asked.recipient);
    // Postfix' non_smtpd_milters give an address and no mailer: nobody could be told there,
    // whatever the route. An MTA that gives neither knows no such macros; then a route of our own
    // is still good.
    const bool says_where = !e.rcpt_mailer.empty();
    if (!says_where && !e.rcpt_address.empty()) {
        i.skip(reason::local, unsaid);
    } else if (says_where && i.told.kind == route_kind::local) {
        i.skip(reason::local, i.told.why);
    }
    if (i.known) return false;
    const scope_decision in = now.who.decide(e, i.asked.recipient);
    if (i.tells) i.rule = in.rule();
    if (in.skip) {
        i.skip(*in.skip, in.rule());
        return false;
    }
    if (i.by->script) consult_before(e, i);
    if (i.known) return false;
    if (i.by->mode == policy_mode::off) {
        i.skip(reason::off, "mode = \"off\"");
    } else if (i.is_mailbox) {
        return find_route(e, i) && !send_away(s, e, i);
    } else if (i.is_bare) {
        i.skip(reason::local, "it has no domain: a user of the MTA's own");
    } else if (!send_away(s, e, i)) {
        i.conclude(verdict_class::undeliverable,
                   reason::bad_address,
                   "not a mailbox that can be sent to another server");
    }
    return false;
}

bool recipient_check::find_route(const envelope& e, inquiry& i) {
    smtpclient::destination& to = i.asked.to;
    to.recipient_mx = false;
    switch (i.by->route) {
        case route_choice::mta:
            if (e.rcpt_mailer.empty()) {
                i.skip(reason::local, unsaid);
                return false;
            }
            // Known by what is wrong with it, not by the host: that may be every client's choice.
            if (!i.told.why.empty()) advise_once(i.told.why, i.told.why);
            if (i.told.kind == route_kind::not_understood) {
                i.skip(reason::local, i.told.why);
                return false;
            }
            i.told.append_text(i.route);
            std::swap(to, i.told.to);
            return true;
        case route_choice::mx:
            to.recipient_mx = true;
            to.hops.clear();
            break;
        case route_choice::list:
            to.hops = i.by->hops;
            break;
    }
    to.append_text(i.route);
    return true;
}

bool recipient_check::send_away(const settings& s, const envelope& e, inquiry& i) {
    i.sent_away = e.client() && clients_.is_beyond(*e.client(), s.limits, i.begun);
    if (!i.sent_away) return false;
    i.conclude(verdict_class::refused,
               reason::throttled,
               "the client has named too many unknown recipients");
    return true;
}

decision recipient_check::decide_about(const snapshot& now, const envelope& e, inquiry& i) {
    if (i.sent_away) return too_many_unknown();
    if (!i.known) return still_pending();
    const mailbox* const recipient = i.recipient();
    decision d = decide(*i.known, *i.by, recipient);
    // Before the interlock, which may suspend what a script rejects.
    if (i.by->script) {
        i.by_script = counsel_after({e, recipient, i.rcpt, e.from()}, *i.known, i.source, *i.by, d);
    }
    const bool undeliverable = i.known->outcome() == smtpclient::outcome::undeliverable;
    if (d.action != action::reject || !undeliverable) return d;
    if (recipient != nullptr && (i.in_doubt || engine_.is_suspended(*recipient))) {
        i.suspended = true;
        return domain_suspended();
    }
    if (e.client()) clients_.count_unknown(*e.client(), now.all->limits, clock::now());
    return d;
}

void recipient_check::consult_before(const envelope& e, inquiry& i) {
    auto counsel = counsel_before({e, i.recipient(), i.rcpt, e.from()}, *i.by);
    if (i.tells) i.script_error = std::move(counsel.error);
    if (counsel.by) {
        i.asked.in_its_own_way = asks_otherwise(*i.by, *counsel.by);
        i.changed = std::move(counsel.by);
        i.by = i.changed.get();
    }
    if (!counsel.skip) return;
    i.skip(reason::exempt, "policy script" + (counsel.skip->empty() ? "" : ": " + *counsel.skip));
}

void recipient_check::advise_once(const std::string& about, const std::string& advice) {
    {
        const std::lock_guard lock(mutex_);
        if (advised_.size() >= most_advice || !advised_.insert(about).second) return;
    }
    log::say(log_level::warning, "recipients are not verified or not reached", {{"why", advice}});
}

}  // namespace callforward::milter
