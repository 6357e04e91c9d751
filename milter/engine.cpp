#include "milter/engine.h"

#include <algorithm>
#include <exception>
#include <new>
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
    : known_(s.cache), under_way_(most_pending), resolver_(resolver_of(s)), reach_(reach_of(s)) {
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

answer engine::ask(smtpclient::question q, const std::string& fingerprint, const patience& p) {
    const verdicts::question_key key(q, fingerprint);
    if (auto known = known_.find(key, clock::now())) return {known->verdict, source::cache};
    q.deadline = clock::now() + q.by->timeout;
    // First with all who ask about the recipient, whoever sends; what depends on the sender only
    // with its equals.
    const std::string_view recipient = key.recipient_only().text;
    answer found = join(q, key, recipient, p);
    const bool anothers = found.verdict && found.source == source::shared &&
                          !smtpclient::about_recipient_alone(*found.verdict);
    if (!anothers) return found;
    if (auto known = known_.find(key, clock::now())) return {known->verdict, source::shared};
    return join(q, key, key.with_sender().text, p);
}

answer engine::join(const smtpclient::question& q,
                    const verdicts::question_key& key,
                    std::string_view name,
                    const patience& p) {
    const std::string under(name);
    const auto ticket = under_way_.join(under);
    if (!ticket.answer) return {std::make_shared<smtpclient::verdict>(overloaded()), source::none};
    if (ticket.is_first) {
        // The one before us may have been answered since we looked.
        if (auto known = known_.find(key, clock::now())) {
            under_way_.answer(under, known->verdict);
            return {known->verdict, source::cache};
        }
        start(q, key, under);
    }
    auto v = wait(*ticket.answer, p);
    return {std::move(v), ticket.is_first ? source::probe : source::shared};
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
        owner.ask(q, [this, key, name](smtpclient::verdict v) {
            if (v.reply) shorten(*v.reply);
            auto shared = std::make_shared<const smtpclient::verdict>(std::move(v));
            // Known before it is no longer under way: who asks in between must not ask the next
            // hop again.
            try {
                known_.store(key, shared, clock::now());
            } catch (const std::bad_alloc&) {  // then it is not known the next time
            }
            under_way_.answer(name, shared);
        });
    } catch (const std::exception&) {
        under_way_.answer(name, std::make_shared<smtpclient::verdict>(overloaded()));
    }
}

}  // namespace callforward::milter
