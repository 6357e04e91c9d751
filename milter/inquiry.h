// One RCPT on its way through recipient_check: what it is about, what came of it, and its log line.
//
// Its memory is used again for the next RCPT: on the way to an answer that is known nothing has to
// be allocated. One thread at a time; inquiry_memory may be used from any.
#pragma once

#include "milter/decision.h"
#include "milter/envelope.h"
#include "milter/log_line.h"
#include "milter/mta_route.h"
#include "milter/observations.h"
#include "milter/settings.h"
#include "smtpclient/mailbox.h"
#include "smtpclient/question.h"
#include "smtpclient/verdict.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::milter {

struct inquiry {
    // Shared with the cache and with others who ask. Nothing: still pending.
    std::shared_ptr<const smtpclient::verdict> known;
    milter::source source = source::none;
    std::shared_ptr<const smtpclient::verdict> away;  // why the source is stale, where it is known
    const policy* by = nullptr;
    bool is_mailbox = false;                // asked.recipient is who the RCPT is about
    bool is_bare = false;                   // else: a local part alone, the MTA's own user
    bool sent_away = false;                 // the client has named too many unknown recipients
    bool in_doubt = false;                  // learnt while its domain was in the interlock
    bool suspended = false;                 // its domain is in the interlock, or was then
    bool by_script = false;                 // the policy's script chose action or text
    std::shared_ptr<const policy> changed;  // for this RCPT, by the script: what `by` is then

    std::chrono::steady_clock::time_point begun;

    mta_route told;  // where the MTA delivers; what it had of it moves to `asked`
    smtpclient::question asked;
    std::string helo_of;  // the MTA's {j} that asked.helo was made of
    std::string id;       // make_trace_id(asked.id)
    std::string rcpt;     // for the log, like all that follows
    std::string route;
    std::string text;
    std::string line;
    bool tells = false;  // for a story: then also
    std::string rule;    // of the scope
    std::string script_error;

    [[nodiscard]] const smtpclient::mailbox* recipient() const {
        return is_mailbox ? &asked.recipient : nullptr;
    }
    // The verdict without asking anybody.
    void conclude(smtpclient::verdict_class c, smtpclient::reason r, std::string_view why);
    void skip(smtpclient::reason r, std::string_view why) {
        conclude(smtpclient::verdict_class::skipped, r, why);
    }

    // What the line says of a verdict. Recipients whose host answers alike share one, so that it is
    // mostly that of the RCPT before.
    class words {
    public:
        void use(const std::shared_ptr<const smtpclient::verdict>& v);
        [[nodiscard]] const std::string& tls() const { return tls_; }
        [[nodiscard]] const std::string& enhanced() const { return enhanced_; }
        [[nodiscard]] const std::string& text() const { return text_; }

    private:
        std::shared_ptr<const smtpclient::verdict> of_;  // kept, so that no other has its address
        std::string tls_;
        std::string enhanced_;
        std::string text_;
    };
    words said;

private:
    friend class inquiry_memory;
    void begin(std::uint64_t settings_number, const policy& otherwise);
    void end();

    std::uint64_t of_settings_ = 0;  // what `told` has read
};

// The line of INTERFACE section 6, and the same for who watches.
void log_rcpt(const envelope& e, const decision& d, inquiry& i, observations& seen);

class inquiry_memory {
public:
    class giver_back {
    public:
        explicit giver_back(inquiry_memory& to) : to_(&to) {}
        void operator()(inquiry* done) const noexcept { to_->take_back(done); }

    private:
        inquiry_memory* to_;
    };
    using borrowed = std::unique_ptr<inquiry, giver_back>;

    inquiry_memory();
    // settings_number: of those that the RCPT is checked against. otherwise: the policy, until that
    // of the recipient's domain is known; must outlive it.
    [[nodiscard]] borrowed begin(std::uint64_t settings_number, const policy& otherwise);

private:
    void take_back(inquiry* done) noexcept;

    std::mutex mutex_;
    std::vector<std::unique_ptr<inquiry>> spare_;
};

}  // namespace callforward::milter
