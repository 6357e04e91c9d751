#include "milter/interlock.h"

#include "milter/verdicts/memory.h"
#include "smtpclient/printable.h"

#include <algorithm>
#include <utility>

namespace callforward::milter {

using smtpclient::outcome;
using smtpclient::stage;

namespace {

constexpr std::size_t most_domains = 10'000;
constexpr int longest_hold = 24;  // windows: 2 h with the default
constexpr std::chrono::hours outlived_for{24};

std::set<std::string, std::less<>> lower_case(const std::vector<std::string>& addresses) {
    std::set<std::string, std::less<>> all;
    for (const auto& address : addresses) all.insert(smtpclient::to_lower(address));
    return all;
}

bool counts_flips(const interlock_settings& s) {
    return s.flip_limit > 0 && s.flip_window.count() > 0;
}

}  // namespace

bool is_refusal(const smtpclient::verdict& v) {
    return verdicts::denies(v) && (v.stage == stage::rcpt || v.stage == stage::data);
}

interlock::interlock(const interlock_settings& s, announcement announce)
    : announce_(std::move(announce)), settings_(s), canaries_(lower_case(s.canaries)) {}

void interlock::use(const interlock_settings& s, time_point now) {
    {
        const std::lock_guard lock(mutex_);
        settings_ = s;
        canaries_ = lower_case(s.canaries);
        for (auto& [name, d] : domains_) {
            std::erase_if(d.canaries, [&](const auto& c) { return !canaries_.contains(c); });
        }
    }
    settle(now);
}

standing interlock::learn(const smtpclient::mailbox& recipient,
                          std::optional<outcome> former,
                          const smtpclient::verdict& v,
                          time_point now) {
    if (!recipient.domain() || v.outcome() == outcome::undetermined) return standing::certain;
    const std::string& domain = recipient.domain()->name();
    const std::string key = recipient.key();
    const std::string folded = smtpclient::to_lower(key);
    const auto address = verdicts::seeded_hash(key, verdicts::hash_seed::of_process());
    const bool refused = is_refusal(v);

    const std::lock_guard lock(mutex_);
    const bool is_canary = canaries_.contains(folded);
    const bool flipped = refused && former == outcome::deliverable && counts_flips(settings_);
    auto its = domains_.find(domain);
    if (its == domains_.end()) {
        const bool matters = flipped || (is_canary && verdicts::denies(v));
        if (!matters || !make_room(now)) return standing::certain;
        its = domains_.try_emplace(domain).first;
    }
    domain_state& d = its->second;
    age(d, now);
    if (v.outcome() == outcome::deliverable) {
        d.flips.erase(address);
        d.outlived.erase(address);
        d.canaries.erase(folded);
    } else {
        if (is_canary && verdicts::denies(v)) d.canaries.insert(folded);
        if (refused) count_flip(d, address, flipped, now);
    }
    const bool known_to_flip = d.flips.contains(address);
    settle(its, now);
    const auto after = domains_.find(domain);
    const bool closed = after != domains_.end() && after->second.closed;
    if (v.outcome() != outcome::undeliverable) return standing::certain;
    if (closed) return standing::closed;
    return known_to_flip ? standing::flipped : standing::certain;
}

std::chrono::milliseconds interlock::doubted_for(const smtpclient::mailbox& recipient,
                                                 std::chrono::milliseconds most) const {
    const std::string folded = smtpclient::to_lower(recipient.key());
    const std::lock_guard lock(mutex_);
    if (canaries_.contains(folded)) return std::chrono::milliseconds(0);
    const std::chrono::milliseconds window = settings_.flip_window;
    return window.count() > 0 ? std::min(most, window / 4) : most;
}

void interlock::learn_elsewhere(const smtpclient::mailbox& recipient, time_point now) {
    if (!recipient.domain()) return;
    const auto address = verdicts::seeded_hash(recipient.key(), verdicts::hash_seed::of_process());
    const std::lock_guard lock(mutex_);
    if (!counts_flips(settings_)) return;
    auto its = domains_.find(recipient.domain()->name());
    if (its == domains_.end()) {
        if (!make_room(now)) return;
        its = domains_.try_emplace(recipient.domain()->name()).first;
    }
    age(its->second, now);
    domain_state& d = its->second;
    // What was seen here is no less sure for it.
    if (!d.outlived.contains(address)) {
        const bool is_new = !d.flips.contains(address);
        count_flip(d, address, true, now);
        const auto flipped = d.flips.find(address);
        if (is_new && flipped != d.flips.end()) flipped->second.unsure = true;
    }
    settle(its, now);
}

void interlock::accepted_elsewhere(const smtpclient::mailbox& recipient) {
    if (!recipient.domain()) return;
    const std::lock_guard lock(mutex_);
    const auto its = domains_.find(recipient.domain()->name());
    if (its == domains_.end()) return;
    its->second.outlived.erase(
        verdicts::seeded_hash(recipient.key(), verdicts::hash_seed::of_process()));
}

void interlock::count_flip(domain_state& d,
                           std::uint64_t address,
                           bool was_deliverable,
                           time_point now) {
    if (const auto known = d.flips.find(address); known != d.flips.end()) {
        // Once more refused says nothing new of one address that is gone, but in an outage it says
        // that it is not over.
        const bool may_hold = now < known->second.first + longest_hold * settings_.flip_window;
        if (d.closed && may_hold) known->second.last = now;
        return;
    }
    if (!was_deliverable) return;
    if (d.outlived.contains(address)) {  // it was no outage that refused it; it is gone
        if (!d.closed) d.outlived.erase(address);
        return;
    }
    if (d.flips.size() < 2 * settings_.flip_limit) {
        d.flips.emplace(address, flip{now, now, d.closed});
    }
}

// Of a flip that saw its domain closed nothing is known but that there was an outage: refused
// again, it is a flip again. What was held for the longest time is taken for gone.
void interlock::age(domain_state& d, time_point now) const {
    const auto window = settings_.flip_window;
    std::erase_if(d.flips, [&](const auto& entry) {
        const auto& [address, f] = entry;
        if (f.last + window > now) return false;
        const bool was_held = f.last - f.first >= (longest_hold - 1) * window;
        if (!f.unsure || was_held) d.outlived.emplace(address, now);
        return true;
    });
    std::erase_if(d.outlived, [&](const auto& o) { return o.second + outlived_for <= now; });
    while (d.outlived.size() > 2 * settings_.flip_limit) {
        d.outlived.erase(std::min_element(
            d.outlived.begin(), d.outlived.end(), [](const auto& a, const auto& b) {
                return a.second < b.second;
            }));
    }
}

// An open domain gives its place away, a closed one never: first one without flips, then the one
// with the fewest.
bool interlock::make_room(time_point now) {
    if (domains_.size() < most_domains) return true;
    const auto flips_of = [&](const auto& entry) {
        return entry.second.closed ? ~std::size_t{0} : entry.second.flips.size();
    };
    const auto least = [&] {
        return std::min_element(
            domains_.begin(), domains_.end(), [&](const auto& a, const auto& b) {
                return flips_of(a) < flips_of(b);
            });
    };
    auto place = least();
    if (flips_of(*place) > 0) {  // what is over may still be counted
        for (auto at = domains_.begin(); at != domains_.end();) settle(at++, now);
        if (domains_.size() < most_domains) return true;
        place = least();
    }
    if (place->second.closed) return false;
    domains_.erase(place);
    return true;
}

void interlock::settle(domain_states::iterator at, time_point now) {
    domain_state& d = at->second;
    age(d, now);
    const bool many = settings_.flip_limit > 0 && d.flips.size() >= settings_.flip_limit;
    const bool closed = many || !d.canaries.empty();
    if (closed != d.closed) {
        interlock_state told = state_of(at->first, d, now);
        told.closed = d.closed = closed;
        if (closed) {
            d.since = now;
            for (auto& [address, f] : d.flips) f.unsure = true;
            ++closed_;
        } else {
            --closed_;
        }
        announce_(told);
    }
    if (!closed && d.flips.empty() && d.outlived.empty()) domains_.erase(at);
}

bool interlock::is_closed(std::string_view domain, time_point now) {
    if (closed_ == 0) return false;
    const std::lock_guard lock(mutex_);
    const auto found = domains_.find(domain);
    if (found == domains_.end() || !found->second.closed) return false;
    settle(found, now);
    const auto after = domains_.find(domain);
    return after != domains_.end() && after->second.closed;
}

void interlock::settle(time_point now) {
    const std::lock_guard lock(mutex_);
    for (auto at = domains_.begin(); at != domains_.end();) settle(at++, now);
}

interlock_state interlock::state_of(const std::string& domain,
                                    const domain_state& d,
                                    time_point now) {
    interlock_state state{domain, d.closed, d.flips.size(), d.canaries.size(), {}};
    if (d.closed) {
        state.closed_for = std::chrono::duration_cast<std::chrono::milliseconds>(now - d.since);
    }
    return state;
}

std::vector<interlock_state> interlock::states(time_point now) const {
    const std::lock_guard lock(mutex_);
    std::vector<interlock_state> all;
    for (const auto& [name, d] : domains_) {
        if (d.closed || !d.flips.empty()) all.push_back(state_of(name, d, now));
    }
    return all;
}

}  // namespace callforward::milter
