// The steps of recipient_check::check(), told instead of counted: `callforward explain`.
#include "milter/inquiry.h"
#include "milter/recipient_snapshot.h"
#include "milter/script_counsel.h"
#include "milter/transcripts.h"
#include "milter/verdicts/memory.h"

#include <memory>
#include <mutex>

namespace callforward::milter {

using clock = std::chrono::steady_clock;
using smtpclient::mailbox;

story recipient_check::explain(const envelope& e, bool dry, std::chrono::milliseconds at_most) {
    constexpr std::chrono::milliseconds for_the_answer{1000};  // after the question's own time
    const auto now = current();
    const auto work = inquiries_.begin(now->number, now->all->default_policy);
    inquiry& i = *work;
    i.tells = true;
    story told;
    told.dry = dry;
    told.is_asked = is_to_be_asked(*now, e, i);
    told.by = *i.by;
    told.scope_rule = i.rule;
    told.rcpt = i.rcpt;
    told.from = e.from();
    told.client = e.client_address;
    told.route = i.route;
    if (told.is_asked) {
        prepare(e, i);
        told.known_before = engine_.what_is_known(i.asked, i.by->fingerprint);
        ask_for(told, i.asked, at_most - for_the_answer);
        i.known = told.verdict;
        i.source = source::probe;
        if (!dry) answer_from_what_is_known(i);
        if (dry && i.known && i.known->outcome() != smtpclient::outcome::undeliverable) {
            i.known.reset();
        }
    }
    if (!told.is_asked || dry) told.verdict = i.known;
    told.answer_from = i.source;
    const mailbox* const recipient = i.recipient();
    if (i.known) {
        told.would = decide(*i.known, told.by, recipient);
        if (told.by.script) {
            std::string error;
            static_cast<void>(counsel_after(
                {e, recipient, i.rcpt, e.from()}, *i.known, i.source, told.by, told.would, &error));
            if (i.script_error.empty()) i.script_error = std::move(error);
        }
        told.suspended = i.known->outcome() == smtpclient::outcome::undeliverable &&
                         recipient != nullptr && engine_.is_suspended(*recipient);
        if (told.suspended && told.would.action == action::reject) told.would = domain_suspended();
    } else if (!dry) {
        told.would = still_pending();
    }
    if (told.verdict) {
        told.would_keep = verdicts::lifetime(*told.verdict, engine_.known().settings());
    }
    if (i.sent_away) told.would = too_many_unknown();
    told.script_error = i.script_error;
    told.is_enforced = told.by.mode == policy_mode::enforce;
    told.elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(clock::now() - i.begun);
    return told;
}

// A next hop that cannot be reached leaves what is known in force.
void recipient_check::answer_from_what_is_known(inquiry& i) {
    const bool reached =
        i.known && i.known->finding.verdict_class != smtpclient::verdict_class::unreachable;
    if (reached) return;
    auto held = engine_.stand_in(i.asked, engine_.known().key_of(i.asked, i.by->fingerprint));
    if (!held) return;
    i.known = std::move(held->verdict);
    i.source = held->source;
}

void recipient_check::ask_for(story& told,
                              smtpclient::question q,
                              std::chrono::milliseconds at_most) {
    struct heard {
        std::mutex mutex;
        transcript lines;
    };
    // Shared: the question may outlive our patience.
    const auto said = std::make_shared<heard>();
    q.trace = [said](char side, std::string_view line) {
        const std::lock_guard lock(said->mutex);
        said->lines.add(side, line);
    };
    q.dry = told.dry;
    told.verdict = engine_.ask_alone(q, at_most);
    const std::lock_guard lock(said->mutex);
    told.dialogue = said->lines.text();
    if (told.verdict && told.verdict->finding.reason == smtpclient::reason::host_penalty) {
        told.dialogue += "*: " + told.verdict->host + " is " + told.verdict->detail + '\n';
    }
    if (told.verdict && told.verdict->reply) {
        told.reply_rule = smtpclient::rule_that_fires(
            *told.verdict->reply,
            {told.verdict->stage,
             q.original_sender,
             q.recipient.domain() ? std::string_view(q.recipient.domain()->name())
                                  : std::string_view()},
            q.by->rules);
    }
}

}  // namespace callforward::milter
