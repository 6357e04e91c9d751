#include "milter/engine.h"

#include "dns/server_list.h"
#include "milter/log.h"

#include <algorithm>
#include <exception>
#include <future>
#include <iterator>
#include <new>
#include <set>
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

unsigned shards_of(const settings& s, unsigned wanted) {
    if (wanted != 0) return wanted;
    if (s.limits.shards != 0) return s.limits.shards;
    return std::max(1U, std::thread::hardware_concurrency());
}

dns::resolver_options resolver_of(const settings& s) {
    dns::resolver_options options;
    // Read here, and not by each resolver, so that a reload finds out that the file has changed.
    options.servers =
        s.dns.servers.empty() ? dns::system_servers(s.dns.resolv_conf) : s.dns.servers;
    options.timeout = s.dns.timeout;
    options.trust_ad = s.dns.trust_ad;
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

source source_of(const verdicts::joined_questions::ticket& ticket,
                 const smtpclient::verdict* answer) {
    // Wherever it was found, who joined has another's answer.
    if (!ticket.is_first) return source::shared;
    if (answer != nullptr && answer->found_before) return source::cache;
    const auto where = answer != nullptr ? ticket.answer->where() : verdicts::found_at::next_hop;
    switch (where) {
        case verdicts::found_at::next_hop:
        case verdicts::found_at::next_hop_in_doubt:
            return source::probe;
        case verdicts::found_at::shared_store:
            return source::cache;
        case verdicts::found_at::other_edge:
            return source::shared;
    }
    return source::none;
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
      edge_(fleet::is_shared_store(s.cache.store)
                ? std::make_unique<fleet::edge>(fleet::store_options_of(s.cache),
                                                s.limits.fleet_connections_per_host,
                                                known_,
                                                shards_of(s, shards))
                : nullptr),
      under_way_(s.limits.pending, s.limits.pending_share),
      no_memory_(std::make_shared<smtpclient::verdict>(overloaded(false))),
      interlock_(s.interlock, [this](const interlock_state& state) { announce(state); }),
      resolver_(resolver_of(s)),
      reach_(reach_of(s)),
      sessions_(sessions_of(s)),
      canaries_(
          interlock_,
          s.interlock,
          [this](const smtpclient::question& q, const std::string& fingerprint) {
              ask_in_background(q, fingerprint);
          },
          [this](const std::set<std::string>& domains, std::chrono::milliseconds lately) {
              known_.forget_refusals(domains, lately, verdicts::moment::now());
          }) {
    if (edge_) {
        edge_->on_refused([this](const smtpclient::mailbox& recipient) {
            interlock_.learn_elsewhere(recipient, clock::now());
        });
        edge_->on_closed([this](const std::string& domain) { canaries_.note_closed(domain); });
    }
    const unsigned count = shards_of(s, shards);
    for (unsigned i = 0; i < count; ++i) {
        shards_.push_back(std::make_unique<shard>(resolver_, reach_, sessions_, edge_.get()));
    }
    known_.on_forget([this](std::string_view domain) {
        for (auto& each : shards_) each->forget(std::string(domain));
    });
}

engine::~engine() {
    canaries_.end();
    known_.on_forget({});
    if (edge_) edge_->close();
}

void engine::use(const settings& s) {
    auto resolver = resolver_of(s);  // first: without the system's servers all stays as it is
    known_.use(s.cache);
    if (edge_) edge_->use(s);
    under_way_.use(s.limits.pending, s.limits.pending_share);
    interlock_.use(s.interlock, clock::now());
    canaries_.use(s.interlock);
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
    known_.finish(at_most);
    if (edge_) edge_->finish(at_most);
}

answer engine::ask(const smtpclient::question& q,
                   const std::string& fingerprint,
                   const patience& p) {
    const auto seed = known_.seed();
    const verdicts::recipient_key whom(q, fingerprint, seed);
    if (const auto fresh = known_.find_fresh(whom, clock::now())) {
        canaries_.note_first(q, fingerprint);
        if (fresh->refresh)
            begin_in_background(q, {whom, q, seed}, fingerprint, fleet::purpose::refresh);
        return {fresh->verdict(), source::cache};
    }
    const verdicts::question_key key(whom, q, seed);
    const auto known = known_.find(key, q.recipient, verdicts::moment::now());
    if (!known || known->stale) canaries_.note(q, fingerprint);
    if (known && !known->stale) {
        canaries_.note_first(q, fingerprint);
        if (known->refresh) begin_in_background(q, key, fingerprint, fleet::purpose::refresh);
        return {known->verdict(), source::cache};
    }
    if (known && known->unreachable && may_stand_in(*known, q.recipient)) {
        return {known->verdict(), source::stale};
    }
    if (const auto doubt = known_.doubted(key, clock::now());
        doubt.verdict && (!doubt.of_closed_domain || is_suspended(q.recipient))) {
        return {doubt.verdict, source::cache, nullptr, doubt.of_closed_domain};
    }
    answer found = find_out(q, key, fingerprint, p);
    const bool reached = found.verdict && found.verdict->finding.verdict_class !=
                                              smtpclient::verdict_class::unreachable;
    if (reached) return found;
    if (known && !may_stand_in(*known, q.recipient)) return found;
    if (known) return {known->verdict(), source::stale, found.verdict};
    // A shared store may have had one that is past its time; or it was declared meanwhile.
    auto since = stand_in(q, key);
    if (!since) return found;
    if (since->source == source::stale) since->away = found.verdict;
    return std::move(*since);
}

std::optional<answer> engine::stand_in(const smtpclient::question& q,
                                       const verdicts::question_key& key) {
    const auto known = known_.recall(key, verdicts::moment::now());
    if (!known || known->verdict()->outcome() == smtpclient::outcome::undetermined) {
        return std::nullopt;
    }
    if (!known->stale) return answer{known->verdict(), source::cache};
    if (!may_stand_in(*known, q.recipient)) return std::nullopt;
    return answer{known->verdict(), source::stale};
}

// What was refused since, though in doubt, answers only in what may be an outage.
bool engine::may_stand_in(const verdicts::known& stale, const smtpclient::mailbox& recipient) {
    return !stale.refused || is_suspended(recipient);
}

// First with all who ask about the recipient, whoever sends; what depends on the sender only with
// its equals.
answer engine::find_out(const smtpclient::question& q,
                        const verdicts::question_key& key,
                        const std::string& fingerprint,
                        const patience& p) {
    answer found = join(q, key, key.recipient_only(), fingerprint, p);
    const bool anothers = found.verdict && found.source == source::shared &&
                          !smtpclient::about_recipient_alone(*found.verdict);
    if (!anothers) return found;
    const auto known = known_.recall(key, verdicts::moment::now());
    if (known && !known->stale) return {known->verdict(), source::shared};
    return join(q, key, key.with_sender(), fingerprint, p);
}

engine::host_list engine::hosts(std::chrono::milliseconds at_most) {
    const auto limit = clock::now() + at_most;
    host_list all;
    for (auto& each : shards_) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(limit - clock::now());
        auto some = each->hosts(std::max(left, std::chrono::milliseconds(0)));
        if (!some) all.complete = false;
        if (some) {
            all.hosts.insert(all.hosts.end(),
                             std::make_move_iterator(some->begin()),
                             std::make_move_iterator(some->end()));
        }
    }
    return all;
}

// Past what is known: its answer is to be a new one, and to be compared with it.
void engine::ask_in_background(const smtpclient::question& q, const std::string& fingerprint) {
    const auto key = known_.key_of(q, fingerprint);
    static_cast<void>(known_.find(key, q.recipient, verdicts::moment::now()));
    begin_in_background(q, key, fingerprint, fleet::purpose::anew);
}

// Nobody waits, and a failure changes nothing that is known.
void engine::begin_in_background(const smtpclient::question& q,
                                 const verdicts::question_key& key,
                                 const std::string& fingerprint,
                                 fleet::purpose why) {
    const entered under = entry_of(q, key.recipient_only());
    const auto ticket = under_way_.join(under.name, q.recipient.domain_key());
    if (ticket.is_first) start(q, key, fingerprint, why, under);
}

answer engine::join(const smtpclient::question& q,
                    const verdicts::question_key& key,
                    const verdicts::digest& name,
                    const std::string& fingerprint,
                    const patience& p) {
    const entered under = entry_of(q, name);
    const auto ticket = under_way_.join(under.name, q.recipient.domain_key());
    if (!ticket.answer) {
        const bool by_domain = ticket.domain_is_full;
        return {std::make_shared<smtpclient::verdict>(overloaded(by_domain)), source::none};
    }
    if (ticket.is_first) {
        answering here{*this, under};
        // The one before us may have been answered since we looked.
        const auto known = known_.recall(key, verdicts::moment::now());
        if (known && !known->stale) {
            auto v = known->verdict();
            under_way_.answer(under.name, v);
            here.over = true;
            return {std::move(v), source::cache};
        }
        here.over = true;
        start(q, key, fingerprint, fleet::purpose::answer, under);
    }
    if (about_to_wait_) about_to_wait_();
    auto v = wait(*ticket.answer, p);
    const bool in_doubt = v && ticket.answer->where() == verdicts::found_at::next_hop_in_doubt;
    return {v, source_of(ticket, v.get()), nullptr, in_doubt};
}

// All questions for one destination go to one shard; what has the same MX is one destination only
// by domain.
shard& engine::owner_of(const smtpclient::question& q) {
    const std::string destination =
        q.to.recipient_mx && q.recipient.domain() ? q.recipient.domain()->name() : q.to.text();
    return *shards_[std::hash<std::string>{}(destination) % shards_.size()];
}

std::shared_ptr<const smtpclient::verdict> engine::ask_alone(const smtpclient::question& q,
                                                             std::chrono::milliseconds at_most) {
    // Shared: who asks may have given up by the time there is an answer.
    auto told = std::make_shared<std::promise<std::shared_ptr<const smtpclient::verdict>>>();
    auto answer = told->get_future();
    smtpclient::question asked = q;
    asked.deadline = clock::now() + std::min(q.by->timeout, at_most);
    auto then = [told](shard_answer a) {
        told->set_value(std::make_shared<const smtpclient::verdict>(std::move(a.verdict)));
    };
    owner_of(q).ask(std::move(asked), std::nullopt, std::move(then));
    if (answer.wait_for(at_most) != std::future_status::ready) return nullptr;
    return answer.get();
}

std::vector<verdicts::known> engine::what_is_known(const smtpclient::question& q,
                                                   const std::string& fingerprint) {
    // Looked for as a RCPT would, so that memory has what the store has.
    const auto key = known_.key_of(q, fingerprint);
    static_cast<void>(known_.find(key, q.recipient, verdicts::moment::now()));
    return known_.show(q.recipient);
}

engine::entered engine::entry_of(const smtpclient::question& q,
                                 const verdicts::digest& name) const {
    const auto changes = known_.changes_of(q.recipient);
    return {name.text() + ' ' + std::to_string(changes), changes};
}

void engine::start(const smtpclient::question& q,
                   const verdicts::question_key& key,
                   const std::string& fingerprint,
                   fleet::purpose why,
                   const entered& under) {
    // What is entered as under way has to be answered, or nobody could ask for it again.
    try {
        smtpclient::question asked = q;
        const auto begin = clock::now();
        asked.deadline = begin + q.by->timeout;
        // Shared with the question's copies, the last of which goes when it is answered.
        const auto said = std::make_shared<transcript>();
        asked.trace = [said](char side, std::string_view line) { said->add(side, line); };
        auto then =
            [this, key, under, begin, said, id = q.id, recipient = q.recipient](shard_answer a) {
                if (a.shared.verdict) {
                    under_way_.answer(under.name,
                                      a.shared.verdict,
                                      a.shared.waited ? verdicts::found_at::other_edge
                                                      : verdicts::found_at::shared_store);
                    accepted_elsewhere(recipient, *a.shared.verdict);
                    return;
                }
                auto shared = no_memory_;
                auto where = verdicts::found_at::next_hop;
                try {
                    if (!a.verdict.found_before)
                        seen_.counts.count_probe(a.verdict, clock::now() - begin);
                    if (a.verdict.reply) shorten(*a.verdict.reply);
                    shared = std::make_shared<const smtpclient::verdict>(std::move(a.verdict));
                    log_dialogue(id, said->text());
                    seen_.dialogues.keep(
                        {id, recipient.key(), std::chrono::system_clock::now(), said->text()});
                    // Known before it is no longer under way: who asks in between must not ask the
                    // next hop again.
                    const standing how =
                        learn(recipient, key, *shared, a.asked, {under.changes, begin});
                    if (how == standing::closed) where = verdicts::found_at::next_hop_in_doubt;
                } catch (const std::exception&) {  // then it is not known the next time
                }
                under_way_.answer(under.name, shared, where);
            };
        owner_of(q).ask(
            std::move(asked), fleet::shared_question{key, fingerprint, why}, std::move(then));
    } catch (const std::exception&) {
        under_way_.answer(under.name, no_memory_);
    }
}

}  // namespace callforward::milter
