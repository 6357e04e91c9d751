// One RCPT from the MTA's words to the answer: scope, policy, route, question, decision, log line.
//
// check() is what the door calls on libmilter's threads. Settings are read from one snapshot a
// RCPT, so that a reload changes nothing half-way. Thread: any, also use() at the same time.
#pragma once

#include "milter/decision.h"
#include "milter/door.h"
#include "milter/engine.h"
#include "milter/envelope.h"
#include "milter/scope.h"
#include "milter/settings.h"

#include <chrono>
#include <memory>
#include <mutex>
#include <set>
#include <string>

namespace callforward::milter {

class recipient_check {
public:
    // The engine must outlive it.
    recipient_check(engine& e, std::shared_ptr<const settings> s);

    [[nodiscard]] decision check(const envelope& e, const keep_waiting& wait);
    void use(std::shared_ptr<const settings> s);
    // How long any RCPT may be held.
    [[nodiscard]] std::chrono::milliseconds longest_wait() const;
    // How long a RCPT from this MTA may be held.
    [[nodiscard]] static std::chrono::milliseconds answer_within(const settings& s,
                                                                 const mta_identity& mta);

private:
    struct snapshot;  // settings with the look-up tables made from them
    struct result;
    [[nodiscard]] std::shared_ptr<const snapshot> current() const;
    [[nodiscard]] result examine(const snapshot& now, const envelope& e, const keep_waiting& wait);
    void advise_once(const std::string& about, const std::string& advice);

    engine& engine_;
    mutable std::mutex mutex_;
    std::shared_ptr<const snapshot> snapshot_;  // shared with the RCPTs under way
    std::set<std::string> advised_;
};

}  // namespace callforward::milter
