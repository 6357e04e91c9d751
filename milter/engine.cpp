#include "milter/engine.h"

#include <algorithm>
#include <thread>

namespace callforward::milter {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::chrono::seconds first_sign{10};
constexpr std::chrono::seconds between_signs{5};
constexpr std::size_t most_pending = 10000;  // INTERFACE section 2, [limits] pending

smtpclient::reach reach_of(const settings& s) {
    smtpclient::reach r = smtpclient::this_host();
    r.deny = s.routing.deny;
    for (const auto& name : s.routing.my_names) {
        if (const auto valid = dns::domain::parse(name)) r.my_names.insert(valid->name());
    }
    r.my_addresses.insert(s.routing.my_addresses.begin(), s.routing.my_addresses.end());
    return r;
}

dns::resolver_options resolver_of(const settings& s) {
    dns::resolver_options options;
    options.servers = s.dns.servers;
    options.timeout = s.dns.timeout;
    return options;
}

smtpclient::verdict overloaded() {
    smtpclient::verdict v;
    v.finding = {smtpclient::verdict_class::unreachable, smtpclient::reason::overloaded};
    v.detail = "too many call-forwards are under way";
    return v;
}

std::shared_ptr<const smtpclient::verdict> wait(verdicts::pending_answer& pending,
                                                const patience& p) {
    auto next_sign = clock::now() + first_sign;
    for (;;) {
        const bool signs = p.give_sign && next_sign < p.limit;
        auto v = pending.wait_until(signs ? next_sign : p.limit);
        if (v || !signs) return v;
        if (!p.give_sign()) return nullptr;
        next_sign = clock::now() + between_signs;
    }
}

}  // namespace

engine::engine(const settings& s, unsigned shards)
    : known_(s.cache, verdicts::make_store(s.cache)),
      under_way_(most_pending),
      resolver_(resolver_of(s)),
      reach_(reach_of(s)) {
    if (shards == 0) shards = std::max(1U, std::thread::hardware_concurrency());
    for (unsigned i = 0; i < shards; ++i) {
        shards_.push_back(std::make_unique<shard>(resolver_, reach_));
    }
}

engine::~engine() = default;

void engine::use(const settings& s) {
    known_.use(s.cache);
    auto resolver = resolver_of(s);
    auto reach = reach_of(s);
    const std::lock_guard lock(mutex_);
    // A new resolver has an empty cache: not for a reload that changed something else.
    if (resolver == resolver_ && reach == reach_) return;
    resolver_ = std::move(resolver);
    reach_ = std::move(reach);
    for (auto& each : shards_) each->use(resolver_, reach_);
}

void engine::save(std::chrono::milliseconds at_most) {
    static_cast<void>(known_.flush(at_most));
}

answer engine::ask(smtpclient::question q, const std::string& fingerprint, const patience& p) {
    const auto key = known_.key_of(q, fingerprint);
    const auto known = known_.find(key, q.recipient, verdicts::moment::now());
    q.deadline = clock::now() + q.by->timeout;
    if (known && !known->stale) {
        if (known->refresh) refresh(q, key);
        return {known->verdict(), source::cache};
    }
    if (known && known->unreachable) return {known->verdict(), source::stale};
    answer found = find_out(q, key, p);
    const bool reached = found.verdict && found.verdict->finding.verdict_class !=
                                              smtpclient::verdict_class::unreachable;
    if (known && !reached) return {known->verdict(), source::stale};
    return found;
}

// First with all who ask about the recipient, whoever sends; what depends on the sender only with
// its equals.
answer engine::find_out(const smtpclient::question& q,
                        const verdicts::question_key& key,
                        const patience& p) {
    answer found = join(q, key, key.recipient_only(), p);
    const bool anothers = found.verdict && found.source == source::shared &&
                          !smtpclient::about_recipient_alone(*found.verdict);
    if (!anothers) return found;
    const auto known = known_.find(key, q.recipient, verdicts::moment::now());
    if (known && !known->stale) return {known->verdict(), source::shared};
    return join(q, key, key.with_sender(), p);
}

answer engine::join(const smtpclient::question& q,
                    const verdicts::question_key& key,
                    const verdicts::digest& name,
                    const patience& p) {
    const std::string under = name.text();
    const auto ticket = under_way_.join(under);
    if (!ticket.answer) return {std::make_shared<smtpclient::verdict>(overloaded()), source::none};
    if (ticket.is_first) start(q, key, under);
    auto v = wait(*ticket.answer, p);
    return {std::move(v), ticket.is_first ? source::probe : source::shared};
}

// In the background: nobody waits, and a failure changes nothing that is known.
void engine::refresh(const smtpclient::question& q, const verdicts::question_key& key) {
    const std::string under = key.recipient_only().text();
    const auto ticket = under_way_.join(under);
    if (ticket.answer && ticket.is_first) start(q, key, under);
}

void engine::start(const smtpclient::question& q,
                   const verdicts::question_key& key,
                   const std::string& name) {
    // All questions for one destination go to one shard; what has the same MX is one destination
    // only by domain.
    const std::string destination =
        q.to.recipient_mx && q.recipient.domain() ? q.recipient.domain()->name() : q.to.text();
    auto& owner = *shards_[std::hash<std::string>{}(destination) % shards_.size()];
    owner.ask(q, [this, key, name, recipient = q.recipient](smtpclient::verdict v) {
        auto shared = std::make_shared<const smtpclient::verdict>(std::move(v));
        // Known before it is no longer under way: who asks in between must not ask the next hop
        // again.
        known_.store(key, recipient, *shared, verdicts::moment::now());
        under_way_.answer(name, shared);
    });
}

}  // namespace callforward::milter
