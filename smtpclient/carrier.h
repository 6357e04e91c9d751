// A session that is ready, carrying errands: one after the other, or many at once where PIPELINING
// is offered (RFC 2920). MAIL, RCPT and RSET of an errand go out together, and behind those of
// others, as soon as it is submitted.
//
// Where a RSET follows in the same write, or before the session was seen to be in step, the
// verdict waits for its reply: a next hop that answers once too often would otherwise give one
// recipient's answer to another. Where none follows, QUIT does. A reply that belongs to nothing
// ends the session, and what was not answered yet is given back; the one whose turn it was is then
// asked in a session of its own, where no other's replies can be taken for its. Owner: a host,
// through shared_ptr, because its reader runs until the connection is closed. One event loop
// thread.
#pragma once

#include "smtpclient/connection.h"
#include "smtpclient/dialogue.h"
#include "smtpclient/errand.h"
#include "smtpclient/reply_habits.h"
#include "smtpclient/session_limits.h"

#include <asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace callforward::smtpclient {

class carrier : public std::enable_shared_from_this<carrier> {
public:
    struct observer {
        // Not answered here, to be asked elsewhere; in the order of their submission.
        std::function<void(std::vector<std::shared_ptr<errand>>)> give_back;
        std::function<void()> has_room;
        std::function<void(const carrier&)>
            ended;                     // takes no more: all calls but closed() are over
        std::function<void()> closed;  // the last call: the connection is gone, too
        // A recipient was answered after `latency`; so many were in flight when it was sent.
        std::function<void(std::chrono::nanoseconds latency, std::size_t ahead, bool refused)>
            answered;
        std::function<void()> throttled;  // 421 or 4.7.x: the next hop wants less of us
        std::function<void(std::size_t in_flight)> broke;  // with more than one in flight
    };

    // about: host, address and TLS, as every verdict of this session names them. owner: whose
    // errands alone it carries (session_owner()).
    carrier(std::unique_ptr<connection> c,
            const extensions& offered,
            verdict about,
            std::chrono::milliseconds reply_timeout,
            const session_limits& limits,
            std::shared_ptr<reply_habits> habits,
            std::string owner = {});

    // How it was opened, for the traces of those who were not there.
    void remember_opening(dialogue_lines lines) { opening_ = std::move(lines); }
    void start(observer o);  // once, when a shared_ptr holds it
    // window: at most in flight. refusals: the share of recipients that this host refuses, 0 to 1.
    [[nodiscard]] bool has_room_for(const errand& e, std::size_t window, double refusals) const;
    [[nodiscard]] const std::string& owner() const { return owner_; }
    [[nodiscard]] bool is_retiring() const { return retiring_; }
    // Its verdict is given, and only the reply to RSET is out: it will take the next in a moment.
    [[nodiscard]] bool is_all_but_idle() const;
    [[nodiscard]] bool is_idle() const { return in_flight_.empty(); }
    // The answer that is due has been since then.
    [[nodiscard]] bool is_stalled(steady_time since) const {
        return !in_flight_.empty() && head_since_ <= since;
    }
    // How many more it will soon carry at once, when it was seen to be in step.
    [[nodiscard]] std::size_t soon(std::size_t window) const;
    [[nodiscard]] std::size_t load() const { return in_flight_.size(); }
    [[nodiscard]] steady_time idle_since() const { return idle_since_; }
    // Of recipients_per_session, unless that is 0.
    [[nodiscard]] std::size_t left() const {
        return retiring_ ? 0 : limits_.recipients_per_session - submitted_;
    }
    void submit(std::shared_ptr<errand> e);
    // Gives back whoever waits behind an answer that has been due since then.
    void relieve(steady_time since);
    void retire();  // takes no more, and says QUIT when what is in flight is answered
    void disown();  // retire(), without telling anybody

private:
    static constexpr std::chrono::milliseconds patience_for_goodbye{2000};

    struct flight {
        std::shared_ptr<errand> whose;
        std::unique_ptr<transaction> dialogue;
        steady_time sent;
        std::size_t ahead = 0;  // in flight when it was sent
        bool alone = false;     // asked again, in a session of its own
        bool resets = false;    // RSET follows: no verdict before its reply
        bool unsent = false;
        bool elsewhere = false;  // given back: an answer is still taken, but not waited for
        bool settled = false;    // answered, or given back because of its answer
    };

    // They hold the carrier from before they begin: it may have ended by then.
    asio::awaitable<void> read(std::shared_ptr<carrier> self);
    asio::awaitable<void> write(std::shared_ptr<carrier> self);
    void queue_bytes(const std::string& bytes);
    void introduce(errand& e) const;
    void on_reply(const reply& r);
    void land(const conclusion& c);
    void note_step(const flight& f, const conclusion& c);
    void answer(flight& f, const conclusion& c);
    [[nodiscard]] bool is_complaint(const flight& f, const conclusion& c) const;
    void note_second_answer(const flight& f, const conclusion& c);
    void give_up();
    void end(const io_failure& why);
    [[nodiscard]] bool is_to_be_asked_elsewhere(flight& f,
                                                bool head,
                                                bool alone,
                                                const io_failure& why);
    void tell_end(std::vector<std::shared_ptr<errand>> unanswered);
    void hang_up();
    void rest();
    [[nodiscard]] steady_time next_reply_by() const;

    std::unique_ptr<connection> connection_;
    const extensions offered_;
    const verdict about_;
    const std::chrono::milliseconds reply_timeout_;
    const session_limits limits_;
    const std::shared_ptr<reply_habits> habits_;
    const std::string owner_;
    const bool reused_;
    dialogue_lines opening_;
    observer observer_;
    std::function<void()> closed_;
    std::deque<flight> in_flight_;
    std::string unsent_;
    bool writing_ = false;
    bool retiring_ = false;
    bool said_quit_ = false;
    bool over_ = false;
    bool accepted_ = false;  // a recipient
    bool in_step_ = false;   // replies were seen to answer what was asked, and nothing before it
    std::size_t submitted_ = 0;
    std::size_t answered_ = 0;
    std::size_t refused_ = 0;
    steady_time head_since_;  // since when the first in flight is the one whose turn it is
    steady_time idle_since_;
    steady_time reset_by_;
    steady_time goodbye_by_;
};

}  // namespace callforward::smtpclient
