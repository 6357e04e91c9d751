// The operator's policy script ([policy] script): before(envelope) and after(envelope, verdict).
//
// before() may leave a recipient out or change route, sender and mode of its policy, for this RCPT;
// after() may change action and text. What they answer is checked as strictly as the configuration.
// Anything wrong -- an error, a bound that is exceeded (script_state.h), an unknown field or value
// -- is told in `error`, and changes nothing: the built-in policy holds. Compiled once, when the
// configuration is read. Calls run in one of a pool of states, whose globals are no memory: a state
// is made and dropped at any time, and always after an error. Thread: any, several at once.
#pragma once

#include "milter/decision.h"
#include "milter/envelope.h"
#include "milter/log_line.h"
#include "milter/settings.h"
#include "smtpclient/mailbox.h"
#include "smtpclient/verdict.h"

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::milter {

class script_state;

struct script_subject {  // who a RCPT is about
    const milter::envelope& envelope;
    const smtpclient::mailbox* recipient = nullptr;  // nothing: no mailbox
    std::string_view rcpt;                           // as it is asked and logged
    std::string_view sender;                         // "<>" is the null sender
};

struct script_verdict {
    const smtpclient::verdict& verdict;
    milter::source source = source::none;
    milter::action action = action::accept;  // that the built-in policy takes
};

struct script_wishes {
    std::string error;
    std::optional<std::string> skip;   // why
    std::shared_ptr<const policy> by;  // nothing: the policy as it is
};

struct script_answer {
    std::string error;
    std::optional<milter::action> action;
    std::optional<std::string> text;  // untrusted, as it may repeat what a next hop said
};

struct script_problem {  // of a script that can not be used
    int line = 0;        // 0: the whole file
    std::string text;
};

class policy_script {
public:
    static constexpr std::size_t largest_file = std::size_t{256} * 1024;

    // Null, with the problem, when it can not be compiled, fails, or has neither function.
    [[nodiscard]] static std::shared_ptr<const policy_script> make(std::string file,
                                                                   std::string text,
                                                                   script_problem& problem);
    ~policy_script();
    policy_script(const policy_script&) = delete;
    policy_script& operator=(const policy_script&) = delete;

    [[nodiscard]] const std::string& file() const { return file_; }
    [[nodiscard]] script_wishes before(const script_subject& about, const policy& now) const;
    [[nodiscard]] script_answer after(const script_subject& about, const script_verdict& v) const;

private:
    policy_script(std::string file, std::string text);
    // Null, with the reason in error.
    [[nodiscard]] std::unique_ptr<script_state> take(std::string& error) const;
    void give_back(std::unique_ptr<script_state> used) const;

    const std::string file_;
    const std::string text_;
    bool has_before_ = false;
    bool has_after_ = false;
    mutable std::mutex mutex_;
    mutable std::vector<std::unique_ptr<script_state>> spare_;
};

}  // namespace callforward::milter
