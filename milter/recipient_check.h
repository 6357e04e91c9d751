// One RCPT from the MTA's words to the answer: scope, policy, route, question, decision, log line.
//
// check() is what the door calls on libmilter's threads. Settings are read from one snapshot a
// RCPT, so that a reload changes nothing half-way. A RCPT whose answer is known and an acceptance
// allocates nothing: what examine() works on is used again for the next. Thread: any, also use()
// at the same time.
#pragma once

#include "milter/client_limits.h"
#include "milter/decision.h"
#include "milter/door.h"
#include "milter/engine.h"
#include "milter/envelope.h"
#include "milter/inquiry.h"
#include "milter/scope.h"
#include "milter/settings.h"
#include "milter/story.h"

#include <chrono>
#include <memory>
#include <mutex>
#include <set>
#include <string>

namespace callforward::milter {

// The socket of a route that the verdict says may not be opened; "" when that is not what is wrong.
[[nodiscard]] std::string forbidden_socket(const smtpclient::verdict& v,
                                           const smtpclient::destination& to);

class recipient_check {
public:
    // The engine must outlive it.
    recipient_check(engine& e, std::shared_ptr<const settings> s);
    ~recipient_check();

    [[nodiscard]] decision check(const envelope& e, const keep_waiting& wait);
    // The same steps for `callforward explain`: asks anew, changes nothing that is known, and
    // counts nothing. dry: looks up, and connects to nobody.
    [[nodiscard]] story explain(const envelope& e, bool dry, std::chrono::milliseconds at_most);
    void use(std::shared_ptr<const settings> s);
    // How long any RCPT may be held.
    [[nodiscard]] std::chrono::milliseconds longest_wait() const;
    // How long a RCPT from this MTA may be held.
    [[nodiscard]] static std::chrono::milliseconds answer_within(const settings& s,
                                                                 const mta_identity& mta);

private:
    struct snapshot;  // settings with the look-up tables made from them

    [[nodiscard]] std::shared_ptr<const snapshot> current() const;
    // The steps of check(); the last is log_rcpt().
    void examine(const snapshot& now, const envelope& e, const keep_waiting& wait, inquiry& i);
    [[nodiscard]] decision decide_about(const snapshot& now, const envelope& e, inquiry& i);
    // Of examine(): who is asked about, whether at all, where, and by what question. False when
    // the verdict is there without asking.
    [[nodiscard]] bool is_to_be_asked(const snapshot& now, const envelope& e, inquiry& i);
    static void prepare(const envelope& e, inquiry& i);
    void ask_for(story& told, smtpclient::question q, std::chrono::milliseconds at_most);
    void answer_from_what_is_known(inquiry& i);
    static void name_parties(const settings& s, const envelope& e, inquiry& i);
    [[nodiscard]] bool find_route(const envelope& e, inquiry& i);
    [[nodiscard]] bool send_away(const settings& s, const envelope& e, inquiry& i);
    // The policy's script may change the policy, or leave the recipient out.
    static void consult_before(const envelope& e, inquiry& i);
    void advise_once(const std::string& about, const std::string& advice);

    engine& engine_;
    client_limits clients_;
    mutable std::mutex mutex_;
    std::shared_ptr<const snapshot> snapshot_;  // shared with the RCPTs under way
    std::set<std::string> advised_;
    inquiry_memory inquiries_;
};

}  // namespace callforward::milter
