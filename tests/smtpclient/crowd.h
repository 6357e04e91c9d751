// Many askers of one call_forward at once, in one event loop, and what each of them was told.
//
// The verdicts are checked against loop_server's manners: by the recipient's name and its address
// in the reply. Members are destroyed in the order that the daemon does it.
#pragma once

#include "smtpclient/call_forward.h"
#include "tests/smtpclient/fake_resolver.h"

#include <asio/io_context.hpp>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace callforward::testing {

// Sessions end soon after their last recipient; no penalty.
[[nodiscard]] smtpclient::session_limits brief_sessions();
// The same, but kept for longer than a test takes without a recipient.
[[nodiscard]] smtpclient::session_limits kept_sessions();

class crowd {
public:
    struct asker {
        std::string recipient;  // "known1@next.test"
        std::optional<smtpclient::verdict> told;
        std::chrono::milliseconds after{0};

        [[nodiscard]] bool accepted() const;
        [[nodiscard]] std::string words() const;
        // The answer is the recipient's own, as loop_server gives it.
        [[nodiscard]] bool is_right() const;
        // Nothing that belongs to another, or to nobody: right, or undetermined without saying why.
        [[nodiscard]] bool is_right_or_undetermined() const;
    };

    explicit crowd(const smtpclient::session_limits& limits = brief_sessions());

    asker& ask(smtpclient::question q);
    asker& ask(const std::string& hop,
               const std::string& local_part,
               const std::string& sender = "alice@sender.test");
    // What it comes to, after run().
    [[nodiscard]] std::string words_of(smtpclient::question q);
    // Until all are answered; a minute at most.
    void run();
    // True when it came to be.
    [[nodiscard]] bool run_until(const std::function<bool()>& it,
                                 std::chrono::milliseconds at_most = std::chrono::seconds{30});
    void run_for(std::chrono::milliseconds time);
    // Until nothing happens any more; all ends of all connections are in this loop.
    void settle();
    [[nodiscard]] smtpclient::call_forward& forward() { return *forward_; }
    void dissolve() { forward_.reset(); }  // the call_forward

    [[nodiscard]] std::deque<asker>& askers() { return askers_; }
    [[nodiscard]] std::size_t wrong() const;  // askers with an answer that is_right() denies

    asio::io_context loop{1};
    fake_resolver resolver;

private:
    std::unique_ptr<smtpclient::call_forward> forward_;
    std::deque<asker> askers_;
    std::size_t unanswered_ = 0;
};

[[nodiscard]] smtpclient::question question_for(const std::string& hop,
                                                const std::string& local_part);

}  // namespace callforward::testing
