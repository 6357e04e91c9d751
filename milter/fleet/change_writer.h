// Brings what an operator has changed to the shared store and then to the other edges.
//
// At most 100 changes are under way at a time, and the next follow when the store has these, so
// that a long list leaves room for look-ups. What the store does not take is tried again until it
// does, after pauses as those of redis_link; the log says so when that begins and when it is over.
// The other edges are told when the store has a change, for they look there next; of one that it
// refuses they are told at once, too, so that at least their memory forgets. Want of memory is one
// more failure, after which it goes on. Owner: the edge's first attachment, shared with its own
// coroutine until stop(). One event loop thread, but for look().
#pragma once

#include "milter/fleet/shared_store.h"
#include "milter/fleet/unwritten_changes.h"

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/steady_timer.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace callforward::milter::fleet {

class change_writer : public std::enable_shared_from_this<change_writer> {
public:
    // changes must outlive it. edge: its name in notices. all_forgotten: there is another seed.
    change_writer(asio::any_io_executor executor,
                  std::shared_ptr<shared_store> store,
                  unwritten_changes& changes,
                  std::string edge,
                  std::function<change_lives()> lives,
                  std::function<void()> all_forgotten);

    void start();  // does nothing where it has begun
    void stop();
    void look();  // there is something to write; any thread

private:
    asio::awaitable<void> live(std::shared_ptr<change_writer> self);
    asio::awaitable<bool> write_some();
    asio::awaitable<bool> tell(std::vector<unwritten_changes::item> some, bool written);
    asio::awaitable<void> wait(steady_time until);
    void succeed(const std::vector<unwritten_changes::item>& some);
    void fail();
    void say_lost();

    asio::any_io_executor executor_;
    std::shared_ptr<shared_store> store_;
    unwritten_changes& changes_;
    const std::string edge_;
    const std::function<change_lives()> lives_;
    const std::function<void()> all_forgotten_;
    asio::steady_timer pause_;
    bool lives_on_ = false;
    bool stopped_ = false;
    bool failing_ = false;
    bool merged_ = false;
    bool outdated_ = false;
};

}  // namespace callforward::milter::fleet
