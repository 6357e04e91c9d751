#include "milter/engine.h"

#include "milter/log.h"

#include <algorithm>
#include <exception>
#include <new>
#include <thread>

namespace callforward::milter {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::chrono::seconds first_sign{10};
constexpr std::chrono::seconds between_signs{5};

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

// Of a reply only so much is kept for the cache, where a hostile next hop's 64 KiB would stay for
// each recipient: more than any reply to a client or any log line shows.
void shorten(smtpclient::reply& reply) {
    constexpr std::size_t longest = 2048;
    std::size_t size = 0;
    std::size_t lines = 0;
    for (std::string& line : reply.lines) {
        if (lines > 0 && size >= longest) break;
        ++lines;
        if (size + line.size() > longest) line = line.substr(0, longest - size);
        size += line.size() + 1;
    }
    reply.lines.resize(lines);
    reply.lines.shrink_to_fit();
}

smtpclient::session_limits sessions_of(const settings& s) {
    smtpclient::session_limits limits = s.limits.sessions;
    limits.catch_all = s.cache.catch_all;
    return limits;
}

smtpclient::verdict overloaded(bool by_domain) {
    smtpclient::verdict v;
    v.finding = {smtpclient::verdict_class::unreachable, smtpclient::reason::overloaded};
    v.detail = by_domain ? "too many call-forwards are under way for this domain"
                         : "too many call-forwards are under way";
    return v;
}

std::string_view domain_of(const smtpclient::mailbox& recipient) {
    return recipient.domain() ? recipient.domain()->name() : recipient.domain_part();
}

void announce(const interlock_state& s) {
    log::say(log_level::warning,
             s.closed ? "interlock closed: undeliverable recipients of this domain are put off"
                      : "interlock opened: undeliverable recipients of this domain are rejected",
             {{"domain", s.domain},
              {"flips", std::to_string(s.flips)},
              {"canaries_refused", std::to_string(s.canaries_refused)},
              {"closed_ms", std::to_string(s.closed_for.count())}});
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
      under_way_(s.limits.pending, s.limits.pending_share),
      interlock_(s.interlock, announce),
      resolver_(resolver_of(s)),
      reach_(reach_of(s)),
      sessions_(sessions_of(s)),
      canaries_(
          interlock_, s.interlock, [this](smtpclient::question q, const std::string& fingerprint) {
              ask_in_background(std::move(q), fingerprint);
          }) {
    if (shards == 0) shards = s.limits.shards;
    if (shards == 0) shards = std::max(1U, std::thread::hardware_concurrency());
    for (unsigned i = 0; i < shards; ++i) {
        shards_.push_back(std::make_unique<shard>(resolver_, reach_, sessions_));
    }
}

engine::~engine() = default;

void engine::use(const settings& s) {
    known_.use(s.cache);
    under_way_.use(s.limits.pending, s.limits.pending_share);
    interlock_.use(s.interlock, clock::now());
    canaries_.use(s.interlock);
    auto resolver = resolver_of(s);
    auto reach = reach_of(s);
    const auto sessions = sessions_of(s);
    const std::lock_guard lock(mutex_);
    // A new resolver has an empty cache: not for a reload that changed something else.
    if (resolver == resolver_ && reach == reach_ && sessions == sessions_) return;
    resolver_ = std::move(resolver);
    reach_ = std::move(reach);
    sessions_ = sessions;
    for (auto& each : shards_) each->use(resolver_, reach_, sessions_);
}

void engine::save(std::chrono::milliseconds at_most) {
    static_cast<void>(known_.flush(at_most));
}

answer engine::ask(smtpclient::question q, const std::string& fingerprint, const patience& p) {
    const auto key = known_.key_of(q, fingerprint);
    const auto known = known_.find(key, q.recipient, verdicts::moment::now());
    q.deadline = clock::now() + q.by->timeout;
    if (!known || known->stale) canaries_.note(q, fingerprint);
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

bool engine::is_suspended(const smtpclient::mailbox& recipient) {
    return recipient.domain() && interlock_.is_closed(recipient.domain()->name(), clock::now());
}

std::vector<interlock_state> engine::suspensions() const {
    return interlock_.states(clock::now());
}

// Past what is known: its answer is to be a new one.
void engine::ask_in_background(smtpclient::question q, const std::string& fingerprint) {
    const auto key = known_.key_of(q, fingerprint);
    const std::string under = key.recipient_only().text();
    q.deadline = clock::now() + q.by->timeout;
    const auto ticket = under_way_.join(under, domain_of(q.recipient));
    if (ticket.is_first) start(q, key, under);
}

answer engine::join(const smtpclient::question& q,
                    const verdicts::question_key& key,
                    const verdicts::digest& name,
                    const patience& p) {
    const std::string under = name.text();
    const auto ticket = under_way_.join(under, domain_of(q.recipient));
    if (!ticket.answer) {
        const bool by_domain = ticket.domain_is_full;
        return {std::make_shared<smtpclient::verdict>(overloaded(by_domain)), source::none};
    }
    if (ticket.is_first) {
        // The one before us may have been answered since we looked.
        const auto known = known_.find(key, q.recipient, verdicts::moment::now());
        if (known && !known->stale) {
            under_way_.answer(under, known->verdict());
            return {known->verdict(), source::cache};
        }
        start(q, key, under);
    }
    auto v = wait(*ticket.answer, p);
    return {std::move(v), ticket.is_first ? source::probe : source::shared};
}

// In the background: nobody waits, and a failure changes nothing that is known.
void engine::refresh(const smtpclient::question& q, const verdicts::question_key& key) {
    const std::string under = key.recipient_only().text();
    const auto ticket = under_way_.join(under, domain_of(q.recipient));
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
    // What is entered as under way has to be answered, or nobody could ask for it again.
    try {
        owner.ask(q, [this, key, name, recipient = q.recipient](smtpclient::verdict v) {
            if (v.reply) shorten(*v.reply);
            auto shared = std::make_shared<const smtpclient::verdict>(std::move(v));
            // Known before it is no longer under way: who asks in between must not ask the next
            // hop again.
            try {
                const auto before = known_.find(key, recipient, verdicts::moment::now());
                std::optional<smtpclient::outcome> former;
                if (before) former = before->verdict()->outcome();
                const bool in_doubt = interlock_.learn(recipient, former, *shared, clock::now());
                // What is in doubt is no knowledge, and replaces none.
                if (!in_doubt) known_.store(key, recipient, *shared, verdicts::moment::now());
            } catch (const std::bad_alloc&) {  // then it is not known the next time
            }
            under_way_.answer(name, shared);
        });
    } catch (const std::exception&) {
        under_way_.answer(name, std::make_shared<smtpclient::verdict>(overloaded(false)));
    }
}

}  // namespace callforward::milter
