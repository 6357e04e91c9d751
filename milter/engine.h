// Questions in, verdicts out: from libmilter's threads to the shards and back, past what is already
// known.
//
// ask() looks into the cache, joins an equal question under way, or has the shard of the
// destination ask; it waits no longer than the patience it was given, while the call-forward goes
// on and its verdict is stored for the next try. An answer near its end is given and asked for
// again in the background; one past it is given while the next hop cannot be reached. Questions
// that differ only in the sender share one call-forward; an answer that was about another's sender
// or message is not taken, and asked for again. Thread: any.
#pragma once

#include "milter/canary_watch.h"
#include "milter/fleet/edge.h"
#include "milter/interlock.h"
#include "milter/log_line.h"
#include "milter/observations.h"
#include "milter/settings.h"
#include "milter/shard.h"
#include "milter/verdicts/cache.h"
#include "milter/verdicts/joined_questions.h"
#include "milter/verdicts/key.h"
#include "smtpclient/question.h"
#include "smtpclient/verdict.h"

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace callforward::milter {

struct patience {
    std::chrono::steady_clock::time_point limit;
    // Called every 5 s from 10 s on, to tell the MTA that we are alive; false: the MTA has gone.
    // May be empty.
    std::function<bool()> give_sign;
};

struct answer {
    std::shared_ptr<const smtpclient::verdict>
        verdict;  // nothing: not known in time, but being worked on
    milter::source source = milter::source::none;
    // Of source stale: what the next hop was asked for in vain; nothing: it was not asked, or has
    // not answered yet.
    std::shared_ptr<const smtpclient::verdict> away = nullptr;
    // Learnt in doubt, its domain being closed: it rejects nobody, though the domain be open by
    // now.
    bool in_doubt = false;
};

class engine {
public:
    // shards: 0 for one per processor. Throws std::runtime_error when the resolver can not be set
    // up.
    explicit engine(const settings& s, unsigned shards = 0);
    ~engine();
    engine(const engine&) = delete;
    engine& operator=(const engine&) = delete;

    // fingerprint: policy.fingerprint. The question's deadline is set here, from q.by->timeout. A
    // known acceptance allocates nothing.
    [[nodiscard]] answer ask(const smtpclient::question& q,
                             const std::string& fingerprint,
                             const patience& p);
    // Called on the thread of an ask() that is about to wait. Before the first ask().
    void tell_of_waits(std::function<void()> about_to_wait) {
        about_to_wait_ = std::move(about_to_wait);
    }
    // Asks for itself, past what is known and what others ask, and changes nothing that is known.
    // Nothing: no answer in time.
    [[nodiscard]] std::shared_ptr<const smtpclient::verdict> ask_alone(
        const smtpclient::question& q, std::chrono::milliseconds at_most);
    [[nodiscard]] std::vector<verdicts::known> what_is_known(const smtpclient::question& q,
                                                             const std::string& fingerprint);
    // For the questions that begin after it; [cache] store and capacities stay those of the start.
    void use(const settings& s);
    // What was learnt or changed and is not on disk, or in the shared store, yet: before the
    // process ends.
    void save(std::chrono::milliseconds at_most);
    [[nodiscard]] verdicts::cache& known() { return known_; }  // for the control socket
    // True while the domain's undeliverable recipients are put off instead of rejected.
    [[nodiscard]] bool is_suspended(const smtpclient::mailbox& recipient);
    // What is known, as far as it may answer where the next hop cannot be reached.
    [[nodiscard]] std::optional<answer> stand_in(const smtpclient::question& q,
                                                 const verdicts::question_key& key);
    [[nodiscard]] std::vector<interlock_state> suspensions() const;
    // For the control socket, and for who counts RCPTs.
    [[nodiscard]] observations& seen() { return seen_; }
    [[nodiscard]] std::size_t pending() const { return under_way_.size(); }
    struct host_list {
        std::vector<smtpclient::host_state> hosts;
        bool complete = true;  // a shard was too busy to say
    };
    [[nodiscard]] host_list hosts(std::chrono::milliseconds at_most);
    // Whether the shards' event loops all turn, asked for at most so long. Thread: any.
    [[nodiscard]] bool is_alive(std::chrono::milliseconds at_most) const {
        return all_turn(shards_, at_most);
    }
    // What this edge shares with others; nothing when it shares nothing.
    [[nodiscard]] const fleet::edge* shared() const { return edge_.get(); }

private:
    void ask_in_background(const smtpclient::question& q, const std::string& fingerprint);
    [[nodiscard]] answer find_out(const smtpclient::question& q,
                                  const verdicts::question_key& key,
                                  const std::string& fingerprint,
                                  const patience& p);
    [[nodiscard]] answer join(const smtpclient::question& q,
                              const verdicts::question_key& key,
                              const verdicts::digest& name,
                              const std::string& fingerprint,
                              const patience& p);
    void begin_in_background(const smtpclient::question& q,
                             const verdicts::question_key& key,
                             const std::string& fingerprint,
                             fleet::purpose why);
    [[nodiscard]] shard& owner_of(const smtpclient::question& q);
    // As it is under way: who asks after a change does not join who asked before it.
    struct entered {
        std::string name;
        verdicts::change_count changes;
    };
    [[nodiscard]] entered entry_of(const smtpclient::question& q,
                                   const verdicts::digest& name) const;
    // Ends it without an answer, if nobody has taken it over: what is entered as under way has to
    // be answered, or nobody could ask for it again.
    struct answering {
        engine& by;
        const entered& under;
        bool over = false;
        ~answering() {
            if (!over) by.under_way_.answer(under.name, by.no_memory_);
        }
    };
    void start(const smtpclient::question& q,
               const verdicts::question_key& key,
               const std::string& fingerprint,
               fleet::purpose why,
               const entered& under);
    [[nodiscard]] standing learn(const smtpclient::mailbox& recipient,
                                 const verdicts::question_key& key,
                                 const smtpclient::verdict& v,
                                 fleet::asking* asked,
                                 const verdicts::beginning& began);
    [[nodiscard]] bool may_stand_in(const verdicts::known& stale,
                                    const smtpclient::mailbox& recipient);
    void accepted_elsewhere(const smtpclient::mailbox& recipient, const smtpclient::verdict& v);
    void announce(const interlock_state& s);

    std::function<void()> about_to_wait_;
    observations seen_;
    verdicts::cache known_;
    std::unique_ptr<fleet::edge> edge_;  // nothing: no shared store
    verdicts::joined_questions under_way_;
    // The answer where there is no memory for one.
    const std::shared_ptr<const smtpclient::verdict> no_memory_;
    interlock interlock_;
    std::mutex mutex_;  // over what a reload changes
    dns::resolver_options resolver_;
    smtpclient::reach reach_;
    smtpclient::session_limits sessions_;
    canary_watch canaries_;  // its thread asks the shards, and they tell it who is closed
    std::vector<std::unique_ptr<shard>> shards_;
};

}  // namespace callforward::milter
