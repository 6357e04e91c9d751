// What an engine makes of an answer of a next hop: knowledge, a doubt, or the end of one.
#include "milter/engine.h"
#include "milter/fleet/asking.h"
#include "milter/log.h"

#include <exception>
#include <optional>

namespace callforward::milter {

namespace {

using clock = std::chrono::steady_clock;

void say(const interlock_state& s) {
    log::say(log_level::warning,
             s.closed ? "interlock closed: undeliverable recipients of this domain are put off"
                      : "interlock opened: undeliverable recipients of this domain are rejected",
             {{"domain", s.domain},
              {"flips", s.flips},
              {"canaries_refused", s.canaries_refused},
              {"closed_ms", s.closed_for.count()}});
}

}  // namespace

bool engine::is_suspended(const smtpclient::mailbox& recipient) {
    if (!recipient.domain()) return false;
    const std::string& domain = recipient.domain()->name();
    return interlock_.is_closed(domain, clock::now()) ||
           (edge_ && edge_->is_closed_elsewhere(domain));
}

std::vector<interlock_state> engine::suspensions() const {
    return interlock_.states(clock::now());
}

standing engine::learn(const smtpclient::mailbox& recipient,
                       const verdicts::question_key& key,
                       const smtpclient::verdict& v,
                       fleet::asking* asked,
                       const verdicts::beginning& began) {
    const auto is_outdated = [&] { return known_.changes_of(recipient) != began.changes; };
    // Who asked has looked in the store, too. What was declared since is not what it was before.
    const auto before = is_outdated() ? std::nullopt : known_.recall(key, verdicts::moment::now());
    std::optional<smtpclient::outcome> former;
    if (before) former = before->verdict()->outcome();
    const bool refused = is_refusal(v);
    const bool flips = refused && former == smtpclient::outcome::deliverable;
    if (edge_ && flips) edge_->tell_refused(recipient);
    standing how = interlock_.learn(recipient, former, v, clock::now());
    if (edge_ && refused && recipient.domain() &&
        edge_->is_closed_elsewhere(recipient.domain()->name())) {
        how = standing::closed;
    }
    // What is in doubt is no knowledge, and replaces none.
    verdicts::stored became;
    if (how == standing::certain) {
        became = known_.store(key, recipient, v, verdicts::moment::now(), began);
        // It has closed since, and what was refused there may have been forgotten before this was.
        if (refused && is_suspended(recipient)) canaries_.note_closed(recipient.domain()->name());
    } else if (!is_outdated()) {
        const auto life = interlock_.doubted_for(recipient, known_.settings().undetermined);
        known_.doubt(key, v, how == standing::closed, life, clock::now());
        if (is_outdated()) known_.forget_doubts();
    }
    if (asked != nullptr) asked->learnt(became, v);
    return how;
}

void engine::accepted_elsewhere(const smtpclient::mailbox& recipient,
                                const smtpclient::verdict& v) {
    if (v.outcome() != smtpclient::outcome::deliverable) return;
    try {
        interlock_.accepted_elsewhere(recipient);
    } catch (const std::exception&) {  // then it may be taken for gone
    }
}

void engine::announce(const interlock_state& s) {
    say(s);
    if (s.closed) {
        canaries_.note_closed(s.domain);
    } else {
        known_.forget_doubts();
    }
    if (edge_) edge_->tell_interlock(s.domain, s.closed);
}

}  // namespace callforward::milter
