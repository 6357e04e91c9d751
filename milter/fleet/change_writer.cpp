#include "milter/fleet/change_writer.h"

#include "milter/fleet/notices.h"

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

namespace callforward::milter::fleet {

using clock = std::chrono::steady_clock;
using verdicts::change;

namespace {

constexpr std::size_t at_a_time = 100;

notice::kind kind_of(change::kind what) {
    switch (what) {
        case change::kind::forget_address:
            return notice::kind::forget;
        case change::kind::forget_domain:
            return notice::kind::forget_domain;
        case change::kind::forget_all:
            return notice::kind::forget_all;
        case change::kind::declare:
            return notice::kind::exists;
    }
    return notice::kind::forget;
}

}  // namespace

change_writer::change_writer(asio::any_io_executor executor,
                             std::shared_ptr<shared_store> store,
                             unwritten_changes& changes,
                             std::string edge,
                             std::function<change_lives()> lives,
                             std::function<void()> all_forgotten)
    : executor_(std::move(executor)),
      store_(std::move(store)),
      changes_(changes),
      edge_(std::move(edge)),
      lives_(std::move(lives)),
      all_forgotten_(std::move(all_forgotten)),
      pause_(executor_) {}

void change_writer::start() {
    if (lives_on_ || stopped_) return;
    lives_on_ = true;
    try {
        auto life = live(shared_from_this());
        asio::co_spawn(executor_, std::move(life), asio::detached);
    } catch (const std::bad_alloc&) {  // the next look does it
        lives_on_ = false;
        throw;
    }
}

void change_writer::stop() {
    stopped_ = true;
    pause_.cancel();
}

void change_writer::look() {
    asio::post(executor_, [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (!self) return;
        self->start();
        self->pause_.cancel();
    });
}

asio::awaitable<void> change_writer::wait(steady_time until) {
    pause_.expires_at(until);
    std::error_code ignored;
    auto token = asio::redirect_error(asio::use_awaitable, ignored);
    co_await pause_.async_wait(token);
}

asio::awaitable<void> change_writer::live([[maybe_unused]] std::shared_ptr<change_writer> self) {
    const store_options& o = store_->link().options();
    auto pause = o.first_pause;
    try {
        while (!stopped_) {
            auto until = steady_time::max();
            if (changes_.size() > 0) {
                bool written = false;
                try {
                    written = co_await write_some();
                } catch (const std::exception&) {
                    // As any other failure.
                }
                if (stopped_) break;
                if (written) {
                    pause = o.first_pause;
                    continue;
                }
                fail();
                until = clock::now() + pause;
                pause = std::min(2 * pause, o.longest_pause);
            }
            co_await wait(until);
        }
    } catch (const std::exception&) {
        // Not even for a pause: without one this loop would keep all others from freeing some. The
        // next look goes on.
    }
    lives_on_ = false;
}

asio::awaitable<bool> change_writer::write_some() {
    const auto some = changes_.begin(at_a_time, clock::now());
    if (some.empty()) co_return false;
    std::vector<change> what;
    what.reserve(some.size());
    for (const auto& each : some) what.push_back(each.what);
    const change_lives lives = lives_();
    const writing result = co_await store_->write(std::move(what), lives);
    const bool written = result == writing::done;
    // Before this edge takes records again.
    if (written && some.front().what.what == change::kind::forget_all) all_forgotten_();
    bool told = false;
    if (result != writing::unanswered) told = co_await tell(some, written);
    if (stopped_) co_return false;
    if (!written || !told) co_return false;
    succeed(some);
    co_return true;
}

asio::awaitable<bool> change_writer::tell(std::vector<unwritten_changes::item> some, bool written) {
    const std::string channel = notices::channel_of(store_->link().options());
    std::string commands;
    std::size_t count = 0;
    for (const auto& each : some) {
        if (!written && each.told) continue;
        const notice n{kind_of(each.what.what), edge_, 0, each.what.name};
        commands += resp_command({"PUBLISH", channel, to_text(n)});
        ++count;
    }
    if (count == 0) co_return true;
    // An error is one of permissions, which the link has noticed: to try again would not help.
    const auto got = co_await store_->link().insist(std::move(commands), count);
    if (got) changes_.told(some);
    co_return got.has_value();
}

void change_writer::succeed(const std::vector<unwritten_changes::item>& some) {
    changes_.written(some);
    say_lost();
    if (changes_.size() > 0) return;
    merged_ = outdated_ = false;
    if (!std::exchange(failing_, false)) return;
    store_->link().options().say(
        log_level::info, "the shared store has the changes that waited for it", {});
}

// One line for all that wait, however many there are.
void change_writer::fail() {
    try {
        const std::size_t waiting = changes_.size();
        changes_.failed(clock::now());
        if (!std::exchange(failing_, true)) {
            store_->link().options().say(
                log_level::warning,
                "the shared store does not take a change now; it is kept and written later",
                {{"changes", waiting}});
        }
        say_lost();
    } catch (const std::bad_alloc&) {
        // Nothing is lost but a line in the log, or a merger, which is due again.
    }
}

void change_writer::say_lost() {
    const auto& say = store_->link().options().say;
    const std::size_t outdated = changes_.take_outdated();
    if (outdated > 0 && !std::exchange(outdated_, true)) {
        say(log_level::warning,
            "the shared store does not take what is declared in time; it is asked about again",
            {{"changes", outdated}});
    }
    const std::size_t merged = changes_.take_merged();
    if (merged == 0 || std::exchange(merged_, true)) return;
    say(log_level::warning,
        "too many changes wait for the shared store; it will forget whole domains instead",
        {{"changes", merged}});
}

}  // namespace callforward::milter::fleet
