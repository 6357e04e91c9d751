// One event loop on a thread of its own, with a resolver and a call-forward: all that belongs to
// the destinations that hash to it lives here, on one thread and without locks.
//
// ask() may be called from any thread; the answer is given on the shard's thread, once, unless the
// shard ends first. use() replaces resolver and reach for the questions that begin after it; those
// under way keep what they began with.
#pragma once

#include "dns/ares_resolver.h"
#include "smtpclient/call_forward.h"
#include "smtpclient/question.h"
#include "smtpclient/verdict.h"

#include <functional>
#include <memory>

namespace callforward::milter {

class shard {
public:
    using on_answer = std::function<void(smtpclient::verdict)>;

    // Throws std::runtime_error when the resolver cannot be made.
    shard(dns::resolver_options dns,
          smtpclient::reach reach,
          const smtpclient::session_limits& limits);
    ~shard();
    shard(const shard&) = delete;
    shard& operator=(const shard&) = delete;

    void ask(smtpclient::question q, on_answer then);
    void use(dns::resolver_options dns,
             smtpclient::reach reach,
             const smtpclient::session_limits& limits);

private:
    class implementation;
    std::unique_ptr<implementation> implementation_;
};

}  // namespace callforward::milter
