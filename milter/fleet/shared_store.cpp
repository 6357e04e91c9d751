#include "milter/fleet/shared_store.h"

#include "milter/fleet/redis_opening.h"
#include "milter/verdicts/memory.h"

#include <algorithm>
#include <utility>

namespace callforward::milter::fleet {

using verdicts::change;
using verdicts::digest;
using verdicts::hash_seed;
using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

namespace {

constexpr auto between_renewals = 1s;
constexpr milliseconds no_answer_for{2000};

// URL-safe base 64 of a number, lowest six bits first: 11 characters.
std::string text_of(std::uint64_t number) {
    constexpr std::string_view digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    std::string text(11, 'A');
    for (char& c : text) {
        c = digits[number & 63U];
        number >>= 6U;
    }
    return text;
}

std::string text_of(const digest& d) {
    return text_of(d.first) + text_of(d.second);
}

std::string fresh_mark() {
    const hash_seed drawn = hash_seed::draw();
    return digest{drawn.first, drawn.second}.text().substr(0, mark_size);
}

}  // namespace

shared_store::shared_store(asio::any_io_executor executor,
                           std::shared_ptr<const store_options> options,
                           tls_files* tls,
                           redis_link::reporter report)
    : options_(std::move(options)),
      link_(std::make_shared<redis_link>(executor, options_, tls, std::move(report))),
      renewal_(std::move(executor),
               between_renewals / 2,
               {[this] { return !held_.empty(); }, [this] { renew_due(clock::now()); }}) {}

void shared_store::start() {
    link_->start();
}

void shared_store::stop() {
    renewal_.stop();
    link_->stop();
}

std::string shared_store::address_tag(const digest& declared) const {
    return link_->key("1:{" + text_of(declared.first) + '}');
}

question_names shared_store::names_of(const smtpclient::question& q,
                                      std::string_view fingerprint) const {
    const hash_seed seed = link_->seed();
    question_names n{seed, verdicts::question_key(q, fingerprint, seed), {}, {}, {}, {}, {}, {}};
    const std::string tag = address_tag(n.key.declared());
    n.record = tag + 'r' + text_of(n.key.recipient_only());
    n.with_sender = tag + 's' + text_of(n.key.with_sender());
    n.declared = tag + 'd';
    n.forgotten = tag + 'f';
    n.domain_forgotten = link_->key("1:{d" + text_of(n.key.tags().domain) + "}f");
    n.lease = tag + 'l' + text_of(n.key.recipient_only());
    return n;
}

std::string shared_store::look_commands(const question_names& n) const {
    // The lives first: what is put in between looks older than it is, and not younger.
    return resp_command({"PTTL", n.record}) + resp_command({"PTTL", n.with_sender}) +
           resp_command({"PTTL", n.declared}) +
           resp_command({"MGET", n.record, n.with_sender, n.declared, n.forgotten}) +
           resp_command({"GET", n.domain_forgotten});
}

bool shared_store::are_current(const question_names& names) const {
    return link_->knows_seed() && names.seed == link_->seed();
}

asio::awaitable<std::optional<findings>> shared_store::find(const question_names& names) {
    // First: when notices come again the seed is outdated, and what is asked from then on believed.
    const auto begun = clock::now();
    if (!are_current(names)) co_return std::nullopt;  // everything was forgotten meanwhile
    std::string commands = look_commands(names);
    const auto got = co_await link_->ask(std::move(commands), look_replies);
    if (!got || (*got)[look_values].is_error()) co_return std::nullopt;
    auto found = findings_of(names, *got);
    found.asked = begun;
    co_return std::move(found);
}

std::string shared_store::fresh_token() {
    const hash_seed drawn = hash_seed::draw();
    return text_of(drawn.first);
}

asio::awaitable<std::optional<lease>> shared_store::try_lease(const question_names& names) {
    const auto begun = clock::now();  // first, as above
    if (!are_current(names)) co_return std::nullopt;
    lease l;
    l.token = fresh_token();
    const std::string life = std::to_string(options_->lease.count());
    std::string commands = resp_command({"SET", names.lease, l.token, "NX", "PX", life}) +
                           resp_command({"GET", names.lease}) + look_commands(names);
    const auto got = co_await link_->ask(std::move(commands), 2 + look_replies);
    if (!got || got->front().is_error()) co_return std::nullopt;
    l.got = got->front().is == resp_value::type::status;
    l.no_answer = (*got)[1].text == no_answer;
    const replies looked(got->begin() + 2, got->end());
    l.found = findings_of(names, looked);
    l.found.asked = begun;
    if (l.got) {
        held_[l.token] = {names.lease, begun};
        renewal_.keep_on(shared_from_this());
    }
    co_return std::move(l);
}

void shared_store::give_back(const question_names& names, const std::string& token, bool answered) {
    if (held_.erase(token) == 0) return;
    const std::string life = std::to_string(answered ? 1 : no_answer_for.count());
    link_->tell(link_->run(script::release, {names.lease}, {token, life}), 1);
}

void shared_store::put(const question_names& names,
                       kept_as as,
                       const std::string& marks,
                       const std::string& token,
                       verdicts::record r,
                       milliseconds keep) {
    held_.erase(token);
    const digest& key = as == kept_as::record        ? names.key.recipient_only()
                        : as == kept_as::with_sender ? names.key.with_sender()
                                                     : names.key.declared();
    const std::string& name = as == kept_as::record        ? names.record
                              : as == kept_as::with_sender ? names.with_sender
                                                           : names.declared;
    const auto life = r.expires - r.learnt;
    r.tags = names.key.tags();
    r.learnt = origin + life + keep;
    r.expires = r.learnt + life;
    const std::string whole =
        (marks.empty() ? std::string(no_mark) + std::string(no_mark) : marks) +
        verdicts::encode(r, key, names.seed);
    const std::string left = std::to_string((life + keep).count());
    link_->tell(link_->run(script::put, {name, names.lease}, {token, whole, left}), 1);
}

void shared_store::erase(const std::string& name) {
    link_->tell(resp_command({"DEL", name}), 1);
}

writing writing_of(const std::optional<replies>& got) {
    if (!got) return writing::unanswered;
    // A key that is somebody else's does not hold up our own.
    const bool refused = std::any_of(got->begin(), got->end(), [](const resp_value& r) {
        return r.is_error() && trouble_of(r) != trouble::foreign;
    });
    return refused ? writing::refused : writing::done;
}

// The marks of some changes, and what is to be written of the declared after them.
struct shared_store::marking {
    struct declaration {
        std::string key;
        std::string mark;
        std::string record;
        std::size_t of_domain;  // which reply has the mark of its domain
    };
    std::string commands;
    std::size_t count = 0;
    std::vector<declaration> declared;

    void add(const std::vector<std::string_view>& words) {
        commands += resp_command(words);
        ++count;
    }
};

shared_store::marking shared_store::mark(const std::vector<change>& changes,
                                         const change_lives& lives) const {
    const hash_seed seed = link_->seed();
    const std::string life = std::to_string(lives.longest.count());
    const auto key_of_domain = [&](std::uint32_t tag) {
        return link_->key("1:{d" + text_of(tag) + "}f");
    };
    marking m;
    for (const change& c : changes) {
        const std::string fresh = fresh_mark();
        if (c.what == change::kind::forget_domain) {
            m.add({"SET", key_of_domain(verdicts::tag_of_domain(c.name, seed)), fresh, "PX", life});
            continue;
        }
        const auto recipient = smtpclient::mailbox::parse(c.name);
        if (!recipient) continue;
        const digest key = verdicts::key_of_declared(*recipient, seed);
        const std::string tag = address_tag(key);
        m.add({"SET", tag + 'f', fresh, "PX", life});
        // A life of nothing is an error to Redis.
        if (c.what == change::kind::forget_address || lives.declared <= 0ms) {
            m.add({"DEL", tag + 'd'});
            continue;
        }
        verdicts::record r;
        r.recipient = recipient->key();
        r.tags = verdicts::tags_of(*recipient, seed);
        r.verdict = verdicts::declared_verdict();
        r.learnt = origin + lives.declared;
        r.expires = r.learnt + lives.declared;
        m.declared.push_back({tag + 'd', fresh, verdicts::encode(r, key, seed), m.count});
        m.add({"GET", key_of_domain(r.tags.domain)});
    }
    return m;
}

asio::awaitable<writing> shared_store::write(std::vector<change> changes, change_lives lives) {
    if (changes.size() == 1 && changes.front().what == change::kind::forget_all) {
        const auto changed = co_await link_->change_seed();
        co_return writing_of(changed);
    }
    // What is declared under an old seed nobody would find.
    const bool has_seed = co_await link_->has_seed(redis_link::importance::has_to_arrive);
    if (!has_seed) co_return writing::unanswered;
    marking marks = mark(changes, lives);
    if (marks.count == 0) co_return writing::done;
    const auto marked = co_await link_->insist(std::move(marks.commands), marks.count);
    if (writing_of(marked) != writing::done || marks.declared.empty()) {
        co_return writing_of(marked);
    }
    // Good until the domain is forgotten the next time.
    const std::string life = std::to_string(lives.declared.count());
    std::string commands;
    for (const auto& d : marks.declared) {
        const std::string whole = d.mark + mark_of((*marked)[d.of_domain]) + d.record;
        commands += resp_command({"SET", d.key, whole, "PX", life});
    }
    const auto kept = co_await link_->insist(std::move(commands), marks.declared.size());
    co_return writing_of(kept);
}

void shared_store::renew_due(steady_time now) {
    const std::string life = std::to_string(options_->lease.count());
    std::string commands;
    std::size_t count = 0;
    for (auto& [token, h] : held_) {
        if (now - h.renewed < between_renewals) continue;
        h.renewed = now;
        commands += link_->run(script::renew, {h.key}, {token, life});
        ++count;
    }
    if (count > 0) link_->tell(std::move(commands), count);
}

}  // namespace callforward::milter::fleet
