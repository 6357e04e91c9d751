#include "milter/recipient_check.h"

#include "milter/log.h"
#include "milter/log_line.h"
#include "milter/mta_route.h"
#include "smtpclient/printable.h"

#include <atomic>
#include <charconv>
#include <random>

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

// For trace ids, from any thread: SplitMix64 on a counter that begins anywhere. libmilter's threads
// come and go, so a generator of each thread's own would be seeded over and over.
std::uint64_t random_number() {
    constexpr std::uint64_t step = 0x9e3779b97f4a7c15U;
    static std::atomic<std::uint64_t> counter{(std::uint64_t{std::random_device{}()} << 32U) |
                                              std::random_device{}()};
    std::uint64_t z = counter.fetch_add(step, std::memory_order_relaxed) + step;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
}

// The parameters of the client's MAIL command that are sent on. What is not understood is left out:
// it is only a hint.
smtpclient::mail_parameters parse_parameters(const std::vector<std::string>& untrusted) {
    smtpclient::mail_parameters parameters;
    for (const auto& parameter : untrusted) {
        const auto equals = parameter.find('=');
        const std::string_view keyword = std::string_view(parameter).substr(0, equals);
        const std::string_view value = equals == std::string::npos
                                           ? std::string_view{}
                                           : std::string_view(parameter).substr(equals + 1);
        if (smtpclient::equal_ignoring_case(keyword, "SMTPUTF8")) parameters.smtputf8 = true;
        if (smtpclient::equal_ignoring_case(keyword, "SIZE")) {
            std::uint64_t size = 0;
            const auto [end, error] =
                std::from_chars(value.data(), value.data() + value.size(), size);
            if (error == std::errc{} && end == value.data() + value.size()) parameters.size = size;
        }
        if (!smtpclient::equal_ignoring_case(keyword, "BODY")) continue;
        for (const char* const known : {"7BIT", "8BITMIME", "BINARYMIME"}) {
            if (smtpclient::equal_ignoring_case(value, known)) parameters.body = known;
        }
    }
    return parameters;
}

void set_sender(smtpclient::question& q, const policy& p, const envelope& e) {
    switch (p.sender) {
        case sender_choice::original: {
            const auto sender = smtpclient::parse_reverse_path(e.mail);
            q.sender = sender.value_or(std::string{});
            // Nobody's mail is refused because the next hop dislikes the null sender.
            q.original_sender = !q.sender.empty();
            break;
        }
        case sender_choice::null:
            q.original_sender = false;
            break;
        case sender_choice::fixed:
            q.sender = p.fixed_sender;
            q.original_sender = false;
            break;
    }
}

// As the log names a sender: without brackets, but the null sender is "<>".
std::string sender_for_log(const std::string& untrusted) {
    const auto sender = smtpclient::parse_reverse_path(untrusted);
    if (!sender) return untrusted;
    return sender->empty() ? "<>" : *sender;
}

// What is no mailbox still has a domain, whose scope and policy it falls under. The empty local
// part is on nobody's list.
mailbox nobody_at_domain_of(std::string_view untrusted) {
    if (untrusted.ends_with('>')) untrusted.remove_suffix(1);
    const auto at = untrusted.rfind('@');
    if (at == std::string_view::npos) return {};
    return mailbox::parse("\"\"" + std::string(untrusted.substr(at))).value_or(mailbox{});
}

std::shared_ptr<const verdict> without_asking(verdict_class c, reason r, std::string why) {
    auto v = std::make_shared<verdict>();
    v->finding = {c, r};
    v->detail = std::move(why);
    return v;
}

}  // namespace

struct recipient_check::snapshot {
    explicit snapshot(std::shared_ptr<const settings> from) : all(std::move(from)), who(*all) {}

    std::shared_ptr<const settings> all;
    scope who;
};

// What examine() came to, and what the log line tells about the way there.
struct recipient_check::result {
    std::shared_ptr<const verdict> known;  // nothing: still pending
    milter::source source = source::none;
    const policy* by = nullptr;
    std::string rcpt;
    std::optional<mailbox> recipient;
    std::string from;
    std::string route;
    bool sent_away = false;  // the client has named too many unknown recipients
    bool suspended = false;  // its domain is in the interlock
};

recipient_check::recipient_check(engine& e, std::shared_ptr<const settings> s)
    : engine_(e), snapshot_(std::make_shared<const snapshot>(std::move(s))) {}

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
    const auto begin = clock::now();
    const auto now = current();
    result r = examine(*now, e, wait);
    const policy& p = *r.by;
    const mailbox* const recipient = r.recipient ? &*r.recipient : nullptr;
    const decision d = decide_about(*now, e, r);

    rcpt_record record;
    record.id = make_trace_id(random_number());
    record.rcpt = r.rcpt;
    record.from = r.from;
    record.client = e.client_address;
    if (recipient != nullptr) {
        record.domain =
            recipient->domain() ? recipient->domain()->name() : recipient->domain_part();
    }
    record.route = r.route;
    record.action = d.action;
    record.mode = p.mode;
    record.source = r.source;
    record.elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(clock::now() - begin);
    record.reason = reason::timed_out;
    record.verdict_class = verdict_class::unreachable;
    record.text = "answer still pending";
    if (r.known) {
        const verdict& v = *r.known;
        record.host = v.host;
        record.address = v.address;
        if (v.tls) record.tls = v.tls->version;
        record.stage = v.stage;
        record.outcome = v.outcome();
        record.reason = v.finding.reason;
        record.verdict_class = v.finding.verdict_class;
        record.text = v.detail;
        if (v.reply) {
            record.code = v.reply->code;
            if (const auto enhanced = v.reply->enhanced()) {
                record.enhanced = smtpclient::to_string(*enhanced);
            }
            if (record.text.empty()) record.text = v.reply->text();
        }
        if (r.suspended) record.text.insert(0, "suspended by the interlock; ");
    }
    log::line(log::format() == log_format::json ? json_line(record) : logfmt_line(record));
    return p.mode == policy_mode::enforce ? d : decision{};
}

decision recipient_check::decide_about(const snapshot& now, const envelope& e, result& r) {
    if (r.sent_away) return too_many_unknown();
    if (!r.known) return still_pending();
    const mailbox* const recipient = r.recipient ? &*r.recipient : nullptr;
    decision d = decide(*r.known, *r.by, recipient);
    const bool undeliverable = r.known->outcome() == smtpclient::outcome::undeliverable;
    if (d.action != action::reject || !undeliverable) return d;
    if (recipient != nullptr && engine_.is_suspended(*recipient)) {
        r.suspended = true;
        return domain_suspended();
    }
    clients_.count_unknown(e.client_address, now.all->limits, clock::now());
    return d;
}

recipient_check::result recipient_check::examine(const snapshot& now,
                                                 const envelope& e,
                                                 const keep_waiting& wait) {
    const settings& s = *now.all;
    result r;
    r.by = &s.default_policy;
    r.from = sender_for_log(e.mail);
    const mta_route route = route_from_macros(e, s.routing);
    // A local user's macro is only its name (Sendmail); then the client's words say more.
    const bool rewritten = route.rcpt.find('@') != std::string::npos;
    r.recipient = mailbox::parse(rewritten ? route.rcpt : e.rcpt);
    r.rcpt = r.recipient ? r.recipient->address() : (rewritten ? route.rcpt : e.rcpt);
    const auto skip = [&](reason why, std::string detail) {
        r.known = without_asking(verdict_class::skipped, why, std::move(detail));
        return r;
    };
    const auto send_away = [&] {
        r.sent_away = clients_.is_beyond(e.client_address, s.limits, clock::now());
        if (!r.sent_away) return false;
        r.known = without_asking(verdict_class::refused,
                                 reason::throttled,
                                 "the client has named too many unknown recipients");
        return true;
    };
    // Postfix' non_smtpd_milters give an address and no mailer: nobody could be told there,
    // whatever the route. An MTA that gives neither knows no such macros; then a route of our own
    // is still good.
    const bool says_where = !e.rcpt_mailer.empty();
    const char* const unsaid = "the MTA does not say where it delivers";
    if (!says_where && !e.rcpt_address.empty()) return skip(reason::local, unsaid);
    if (says_where && route.kind == route_kind::local) return skip(reason::local, route.why);

    const mailbox about = r.recipient ? *r.recipient : nobody_at_domain_of(r.rcpt);
    r.by = &policy_for(s, about);
    const scope_decision in = now.who.decide(e, about);
    if (in.skip) return skip(*in.skip, in.rule);
    if (r.by->mode == policy_mode::off) return skip(reason::off, "mode = \"off\"");
    if (!r.recipient) {
        if (send_away()) return r;
        r.known = without_asking(verdict_class::undeliverable,
                                 reason::bad_address,
                                 "not a mailbox that can be sent to another server");
        return r;
    }

    smtpclient::question q;
    switch (r.by->route) {
        case route_choice::mta:
            if (!says_where) return skip(reason::local, unsaid);
            // Known by what is wrong with it, not by the host: that may be every client's choice.
            if (!route.why.empty()) advise_once(route.why, route.why);
            if (route.kind == route_kind::not_understood) return skip(reason::local, route.why);
            q.to = route.to;
            break;
        case route_choice::mx:
            q.to.recipient_mx = true;
            break;
        case route_choice::list:
            q.to.hops = r.by->hops;
            break;
    }
    r.route = q.to.text();
    if (send_away()) return r;
    q.recipient = *r.recipient;
    set_sender(q, *r.by, e);
    q.parameters = parse_parameters(e.mail_parameters);
    q.by = r.by->transport;
    const auto hostname = dns::domain::parse(e.mta.hostname);
    q.helo = hostname ? hostname->name() : smtpclient::own_host_name();

    patience p;
    p.limit = clock::now() + answer_within(s, e.mta);
    // Sendmail takes a sign for an acceptance, and without a longer time nobody needs one.
    if (e.mta.is_postfix() && s.milter.answer_within) p.give_sign = wait;
    answer a = engine_.ask(std::move(q), r.by->fingerprint, p);
    r.source = a.source;
    r.known = std::move(a.verdict);
    if (r.known && r.known->finding.reason == reason::loop) {
        advise_once("loop " + r.recipient->key().substr(r.recipient->local_part().size()),
                    r.known->detail + "; name the server that has the mailboxes in [domain.\"" +
                        smtpclient::printable(r.recipient->domain_part()) + "\"] route");
    }
    return r;
}

void recipient_check::advise_once(const std::string& about, const std::string& advice) {
    {
        const std::lock_guard lock(mutex_);
        if (advised_.size() >= most_advice || !advised_.insert(about).second) return;
    }
    log::say(log_level::warning, "recipients are not verified or not reached", {{"why", advice}});
}

}  // namespace callforward::milter
