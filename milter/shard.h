// One event loop on a thread of its own, with a resolver and a call-forward: all that belongs to
// the destinations that hash to it lives here, on one thread and without locks.
//
// Where edges share a store, a question is looked up there first, without holding up the thread.
// ask() may be called from any thread; the answer is given on the shard's thread, once, unless the
// shard ends first. use() replaces resolver and reach for the questions that begin after it; those
// under way keep what they began with.
#pragma once

#include "dns/ares_resolver.h"
#include "milter/fleet/asking.h"
#include "milter/fleet/edge.h"
#include "smtpclient/host_state.h"
#include "smtpclient/question.h"
#include "smtpclient/reach.h"
#include "smtpclient/session_limits.h"
#include "smtpclient/verdict.h"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace callforward::milter {

struct shard_answer {
    smtpclient::verdict verdict;     // of the next hop
    fleet::shared_answer shared;     // has one: no next hop was asked
    fleet::asking* asked = nullptr;  // to be told what the next hop has said; until the call ends
};

class shard {
public:
    using on_answer = std::function<void(shard_answer)>;

    // Throws std::runtime_error when the resolver cannot be made. e: where edges share a store;
    // must outlive the shard.
    shard(dns::resolver_options dns,
          smtpclient::reach reach,
          const smtpclient::session_limits& limits,
          fleet::edge* e = nullptr);
    ~shard();
    shard(const shard&) = delete;
    shard& operator=(const shard&) = delete;

    // about: nothing to ask the next hop whatever other edges know.
    void ask(smtpclient::question q, std::optional<fleet::shared_question> about, on_answer then);
    void use(dns::resolver_options dns,
             smtpclient::reach reach,
             const smtpclient::session_limits& limits);
    // Its hosts at present; nothing when the loop is too busy to say so in time.
    [[nodiscard]] std::optional<std::vector<smtpclient::host_state>> hosts(
        std::chrono::milliseconds at_most);
    // See smtpclient::call_forward::forget(). Thread: any.
    void forget(std::string domain);
    // A short job on the shard's thread, after what is queued there. Thread: any.
    void run(std::function<void()> job);

private:
    class implementation;
    std::unique_ptr<implementation> implementation_;
};

// Whether each of these event loops still turns: comes to a job given to it now, within that time.
[[nodiscard]] bool all_turn(const std::vector<std::unique_ptr<shard>>& shards,
                            std::chrono::milliseconds at_most);

}  // namespace callforward::milter
