#include "smtpclient/call_forward.h"

#include "smtpclient/catch_all_trial.h"
#include "smtpclient/host.h"
#include "smtpclient/host_key.h"
#include "smtpclient/printable.h"
#include "smtpclient/targets.h"

#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>

namespace callforward::smtpclient {

namespace {

constexpr std::size_t most_connections = 20;
constexpr std::size_t most_hosts = 25;
constexpr std::chrono::seconds for_equals{1};  // one whose name server is silent holds up all
constexpr std::chrono::seconds inconclusive_for{60};  // a test for catch-all that failed
constexpr std::size_t most_hosts_kept = 1000;         // then those with nothing to do are forgotten

// RFC 5321 section 4.1.2 and the RCPT it leads to: another host would say nothing else.
bool is_decisive(const verdict& v) {
    if (v.outcome() != outcome::undetermined) return true;
    const bool refused = v.reply && v.reply->status_class() == 5;
    return refused && (v.stage == stage::mail || v.stage == stage::rcpt || v.stage == stage::data);
}

// Of two verdicts that decide nothing, the one that says more.
bool says_more(const verdict& a, const verdict& b) {
    if (a.stage != b.stage) return a.stage > b.stage;
    return b.finding.reason == reason::no_usable_host && a.finding.reason != reason::no_usable_host;
}

// MAIL was refused in a way that another sender may change.
bool is_refused_sender(const verdict& v) {
    if (v.stage != stage::mail) return false;
    if (v.finding.reason == reason::smtputf8) return true;
    if (!v.reply || v.reply->status_class() != 5) return false;
    return v.finding.reason != reason::auth_required && v.finding.reason != reason::client_refused;
}

// No recipient had a part in it: the random one of a test, which is perhaps sent along with MAIL,
// may be what a connection broke at.
bool is_about_host(const verdict& v) {
    const auto c = v.finding.verdict_class;
    if (c != verdict_class::unreachable && c != verdict_class::insecure) return false;
    return v.stage < stage::mail ||
           (v.stage == stage::mail && v.finding.reason != reason::disconnected);
}

}  // namespace

// The way of one question from host to host. Lives in the frame of verify().
class call_forward::journey {
public:
    journey(call_forward& owner, std::shared_ptr<const question> q)
        : owner_(owner),
          whole_(std::move(q)),
          question_(*whole_),
          finder_(owner.resolver_, *owner.reach_, *owner.sts_, question_) {}

    asio::awaitable<verdict> travel() {
        const std::size_t hops = question_.to.recipient_mx ? 1 : question_.to.hops.size();
        for (std::size_t i = 0; i < hops && !done(); ++i) {
            auto found =
                co_await finder_.targets_of_hop(i, static_cast<std::uint32_t>(owner_.random_()));
            if (found.verdict) settle(std::move(*found.verdict));
            for (std::size_t n = 0; n < found.targets.size(); ++n) {
                if (done() || ++hosts_ > most_hosts) break;
                const bool ours = co_await has_our_preference(found.targets, n);
                if (ours) break;
                const bool stop = co_await visit(found.targets[n]);
                if (stop) break;
            }
        }
        if (!best_) settle(nothing_tried());
        finish(*best_);
        co_return std::move(*best_);
    }

private:
    [[nodiscard]] bool done() const {
        return decided_ || connections_ >= most_connections ||
               std::chrono::steady_clock::now() >= question_.deadline;
    }

    void settle(verdict v) {
        decided_ = decided_ || is_decisive(v);
        if (!best_ || is_decisive(v) || says_more(v, *best_)) best_ = std::move(v);
    }

    [[nodiscard]] verdict nothing_tried() const {
        verdict v;
        const bool late = std::chrono::steady_clock::now() >= question_.deadline;
        v.finding = {verdict_class::unreachable, late ? reason::timed_out : reason::no_usable_host};
        v.stage = stage::route;
        v.detail = question_.dry ? "looked up only, nobody was asked"
                   : late        ? "no time left to try a host"
                                 : "the route names no host";
        return v;
    }

    void finish(verdict& v) {
        v.mx = finder_.exchangers();
        const std::string& remark = finder_.remark().empty() ? watched_ : finder_.remark();
        if (!remark.empty()) {
            // Of an acceptance nobody wants its text, and what differs for each is kept for each.
            const bool tells = v.reply && v.outcome() != outcome::deliverable;
            const std::string said = tells ? printable(v.reply->text()) : std::string{};
            const std::string rest = v.detail.empty() ? said : v.detail;
            v.detail = remark + (rest.empty() ? "" : "; " + rest);
        }
        v.next_hop_names = finder_.names();
        v.next_hop_names.insert(v.next_hop_names.end(), names_.begin(), names_.end());
    }

    // RFC 5321 section 5.1: the hosts of this host's own preference are not tried either, and where
    // this one is known by its address only, another may come first. Looked at once for each
    // preference, before the first of its hosts.
    asio::awaitable<bool> has_our_preference(const std::vector<target>& all, std::size_t n) {
        const auto is_equal = [&](const target& t) { return t.preference == all[n].preference; };
        if (n > 0 && is_equal(all[n - 1])) co_return false;
        const auto first = all.begin() + static_cast<std::ptrdiff_t>(n);
        std::vector<target> equals(first, std::find_if_not(first, all.end(), is_equal));
        if (equals.size() < 2) co_return false;  // it is found out when it is visited
        const std::size_t left = most_hosts + 1 - hosts_;
        if (equals.size() > left) equals.resize(left);
        const auto by = std::min(question_.deadline, std::chrono::steady_clock::now() + for_equals);
        auto own = co_await find_this_host(
            owner_.resolver_, owner_.reach_, std::move(equals), by, question_.trace);
        if (!own) co_return false;
        settle(std::move(*own));
        co_return true;
    }

    // True when the hosts after this one must not be tried: it is this host (RFC 5321 section 5.1).
    asio::awaitable<bool> visit(target t) {
        if (question_.dry) {
            auto found = co_await find_endpoints(
                owner_.resolver_, owner_.reach_, std::move(t), question_.trace);
            if (found.verdict) settle(std::move(*found.verdict));
            co_return found.is_self;
        }
        const auto next = owner_.host_for(t, question_);
        std::optional<host_answer> found;
        if (question_.by->catch_all_probe && question_.recipient.domain()) {
            found = co_await as_any_other(*next, t);
            if (found && found->verdict.finding.reason == reason::catch_all) {
                settle(std::move(found->verdict));
                co_return false;
            }
        }
        if (!found && done()) co_return false;  // it waited for another's test
        if (!found) found = co_await ask(*next, whole_);
        host_answer answer = std::move(*found);
        const bool under_dane = answer.verdict.finding.reason == reason::dane_failed;
        if (under_dane && answer.is_wrong_name && !t.nexthop_counts && !t.nexthop.empty()) {
            // RFC 7672 section 3.2.2: with usage 2 the certificate may be for the domain that led
            // here, or for what that is an alias of. Then the session is that domain's alone; so
            // this is no host's first way.
            t.nexthop_counts = true;
            co_return co_await visit(std::move(t));
        }
        note_late_refusal(answer.verdict);
        watch(t, answer.verdict);
        if (answer.no_addresses && t.is_recipient_domain) {
            // RFC 5321 section 5.1: no MX, and no address either: there is no such mail domain.
            answer.verdict.finding = {verdict_class::undeliverable, reason::no_such_domain};
            answer.verdict.detail = t.name + " has neither MX nor address records";
        }
        settle(std::move(answer.verdict));
        co_return answer.is_self;
    }

    // With the sender, and once with the one that stands in for a sender that is refused.
    asio::awaitable<host_answer> ask(host& next, std::shared_ptr<const question> q) {
        const auto& instead = q->by->sender_fallback;
        if (!instead || *instead == q->sender) {
            auto only = co_await next.ask(std::move(q));
            note(only);
            co_return only;
        }
        const std::string key = refused_senders::key(next.key(), q->sender);
        const bool known = owner_.refused_.knows(key, std::chrono::steady_clock::now());
        question with_other = *q;
        with_other.sender = *instead;
        with_other.original_sender = false;
        auto other = std::make_shared<const question>(std::move(with_other));
        auto first = known ? other : std::move(q);
        auto answer = co_await next.ask(std::move(first));
        note(answer);
        const bool refused = is_refused_sender(answer.verdict);
        if (known && refused) owner_.refused_.forget(key);
        if (known || !refused) co_return answer;
        answer = co_await next.ask(std::move(other));
        note(answer);
        if (answer.verdict.stage > stage::mail) {
            owner_.refused_.note(key, std::chrono::steady_clock::now());
        }
        co_return answer;
    }

    // The answer where the host takes any local part of the recipient's domain, or can not be asked
    // at all; nothing also when that can not be found out.
    asio::awaitable<std::optional<host_answer>> as_any_other(host& next, target t) {
        const std::string& domain = question_.recipient.domain()->name();
        const std::string key = catch_all_findings::key(next.key(), domain);
        while (!done()) {
            const auto now = std::chrono::steady_clock::now();
            if (const auto known = owner_.catch_all_.find(key, now)) {
                if (!known->accepts_any) co_return std::nullopt;
                host_answer found;
                found.verdict = catch_all_verdict(t);
                found.verdict.found_before =
                    std::chrono::floor<std::chrono::seconds>(known->expires - now);
                co_return found;
            }
            auto under_way = owner_.trials_[key].lock();
            if (!under_way) co_return co_await try_random(next, std::move(t), key);
            const auto mine = std::make_shared<errand>(owner_.executor_, whole_);
            under_way->join(mine);
            under_way.reset();
            std::error_code ignored;
            auto token = asio::redirect_error(asio::use_awaitable, ignored);
            co_await mine->answered.async_wait(token);
            if (!mine->answer) continue;
            note(*mine->answer);
            co_return std::move(*mine->answer);
        }
        co_return std::nullopt;
    }

    asio::awaitable<std::optional<host_answer>> try_random(host& next, target t, std::string key) {
        std::erase_if(owner_.trials_, [](const auto& each) { return each.second.expired(); });
        const auto trial = std::make_shared<catch_all_trial>();
        owner_.trials_[key] = trial;
        auto& findings = owner_.catch_all_;
        const std::size_t times_forgotten = findings.times_forgotten();
        question random = question_;
        random.recipient = random_recipient(question_.recipient);
        auto test = std::make_shared<const question>(std::move(random));
        auto answer = co_await ask(next, std::move(test));
        const verdict& v = answer.verdict;
        note_late_refusal(v);
        const bool at_recipient = v.stage == stage::rcpt || v.stage == stage::data;
        const bool answered = at_recipient && v.reply && v.reply->status_class() != 4;
        const bool any = answered && v.outcome() == outcome::deliverable;
        const auto now = std::chrono::steady_clock::now();
        // Broken off or deferred says nothing; the next recipient does not ask at once again.
        if (times_forgotten == findings.times_forgotten()) {
            findings.note(key, any, answered ? owner_.limits_.catch_all : inconclusive_for, now);
        }
        if (any) {
            answer.verdict = catch_all_verdict(t);
            co_return answer;
        }
        // That its own time is up is nothing to the others.
        const bool late = now >= question_.deadline && v.finding.reason == reason::timed_out;
        if (!late && !is_about_host(v)) co_return std::nullopt;
        if (!late) trial->tell(answer);
        co_return answer;
    }

    // Only a RCPT that was accepted is followed by DATA.
    void note_late_refusal(const verdict& v) {
        if (v.stage == stage::data && v.outcome() == outcome::undeliverable) {
            owner_.late_rejecters_.note(v.host, v.port);
        }
    }

    [[nodiscard]] verdict catch_all_verdict(const target& t) const {
        verdict v;
        v.finding = {verdict_class::deliverable, reason::catch_all};
        v.stage = question_.by->probe_until == probe_end::data ? stage::data : stage::rcpt;
        v.host = t.text();
        v.port = t.port;
        v.detail = "the host accepts any local part of the domain";
        return v;
    }

    // RFC 8461 section 5: what a policy would refuse that is only tested is to be known.
    void watch(const target& t, const verdict& v) {
        if (t.sts != sts_policy::mode::testing || v.stage < stage::mail) return;
        if (question_.by->tls.level == tls_level::none) return;
        if (v.tls && v.tls->unproven.empty()) return;
        const std::string what = v.tls ? ": " + v.tls->unproven : " offers no TLS";
        watched_ = "MTA-STS of " + t.nexthop + " (testing): " + t.name + what;
    }

    void note(const host_answer& answer) {
        connections_ += answer.attempts;
        names_.insert(names_.end(), answer.names.begin(), answer.names.end());
    }

    call_forward& owner_;
    const std::shared_ptr<const question> whole_;
    const question& question_;
    target_finder finder_;
    std::optional<verdict> best_;
    bool decided_ = false;
    std::size_t connections_ = 0;
    std::size_t hosts_ = 0;
    std::vector<std::string> names_;
    std::string watched_;  // what the last host asked would be refused for
};

call_forward::call_forward(asio::any_io_executor executor,
                           dns::resolver& resolver,
                           reach r,
                           const session_limits& limits,
                           std::shared_ptr<mta_sts> policies)
    : executor_(std::move(executor)),
      resolver_(resolver),
      reach_(std::make_shared<const reach>(std::move(r))),
      limits_(limits),
      sts_(policies ? std::move(policies) : std::make_shared<mta_sts>(executor_, fetch_sts_policy)),
      random_(std::random_device{}()) {}

call_forward::~call_forward() {
    for (const auto& [key, each] : hosts_) each->close();
}

asio::awaitable<verdict> call_forward::verify(question q) {
    journey way(*this, std::make_shared<const question>(std::move(q)));
    co_return co_await way.travel();
}

std::shared_ptr<host> call_forward::host_for(const target& t, const question& q) {
    const std::string helo = q.by->helo.empty() ? q.helo : q.by->helo;
    std::string key = host_key(t, q, helo);
    const auto known = hosts_.find(key);
    if (known != hosts_.end()) return known->second;
    if (hosts_.size() >= most_hosts_kept) forget_idle_hosts();
    auto tls = context_for(q.by->tls);
    auto fresh = std::make_shared<host>(
        executor_, resolver_, reach_, t, host::manner{q.by, helo, tls, {}, key}, limits_);
    fresh->share(allowance_);
    hosts_.emplace(std::move(key), fresh);
    return fresh;
}

std::shared_ptr<const tls_context> call_forward::context_for(const tls_policy& policy) {
    auto& known = contexts_[tls_context::key_of(policy)];
    auto context = known.lock();
    if (!context) known = context = std::make_shared<const tls_context>(policy);
    return context;
}

std::vector<host_state> call_forward::hosts() const {
    constexpr std::size_t most_domains = 20;
    const auto now = std::chrono::steady_clock::now();
    std::vector<host_state> all;
    all.reserve(hosts_.size());
    for (const auto& [key, each] : hosts_) {
        host_state s = each->state();
        const std::string beginning = catch_all_findings::key(key, "");
        for (const auto& found : catch_all_.accepting(beginning, most_domains, now)) {
            s.catch_all.push_back(found.substr(beginning.size()));
        }
        s.rejects_late = late_rejecters_.knows(s.host, s.port);
        all.push_back(std::move(s));
    }
    return all;
}

void call_forward::forget_idle_hosts() {
    std::erase_if(hosts_, [](const auto& entry) {
        return entry.second->is_forgettable() && entry.second.use_count() == 1;
    });
    // A flood of names that lead nowhere: each is under penalty, and there is no end of them.
    if (hosts_.size() < most_hosts_kept) return;
    std::erase_if(hosts_, [](const auto& entry) {
        return entry.second->has_nothing_to_do() && entry.second.use_count() == 1;
    });
}

}  // namespace callforward::smtpclient
