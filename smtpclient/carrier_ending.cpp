// How a carrier's session ends, and what becomes of those that it was still carrying.
#include "smtpclient/carrier.h"
#include "smtpclient/session.h"

#include <new>
#include <utility>

namespace callforward::smtpclient {

namespace {

using clock = std::chrono::steady_clock;

// What has to be told is told, whatever became of what was told before it: a host that does not
// hear of the end of a session keeps its place for ever.
template <typename Call>
void even_without_memory(Call call) {
    try {
        call();
    } catch (const std::bad_alloc&) {  // who is not answered has a deadline
    }
}

}  // namespace

void carrier::relieve(steady_time since) {
    if (in_flight_.size() < 2 || !is_stalled(since)) return;
    std::vector<std::shared_ptr<errand>> waiting;
    for (std::size_t i = 1; i < in_flight_.size(); ++i) {
        if (in_flight_[i].elsewhere || in_flight_[i].whose->is_over()) continue;
        in_flight_[i].elsewhere = true;
        waiting.push_back(in_flight_[i].whose);
    }
    // Who is that slow gets no more on top.
    retiring_ = true;
    if (!waiting.empty() && observer_.give_back) observer_.give_back(std::move(waiting));
}

void carrier::retire() {
    retiring_ = true;
    if (over_ || said_quit_ || !in_flight_.empty()) return;
    said_quit_ = true;
    // The next hop should not have to log a lost connection; nobody waits for its goodbye.
    goodbye_by_ = clock::now() + patience_for_goodbye;
    even_without_memory([&] {
        connection_->expect_reply_by(goodbye_by_);
        queue_bytes("QUIT\r\n");
    });
    const observer told = std::exchange(observer_, {});
    if (told.ended) told.ended(*this);
}

void carrier::disown() {
    observer_ = {};
    closed_ = {};
    retire();
}

// Without memory a session that nobody reads or writes any more must not stand for ever.
void carrier::give_up() {
    if (over_) return;
    end({reason::protocol_error, "no memory"});
}

// Without a word, with nobody else in flight.
void carrier::hang_up() {
    over_ = true;
    connection_->close();
    tell_end({});
}

void carrier::tell_end(std::vector<std::shared_ptr<errand>> unanswered) {
    // Calls may lead back here through the host: first leave everything in order.
    const observer told = std::exchange(observer_, {});
    const auto closed = std::exchange(closed_, {});
    even_without_memory([&] {
        if (!unanswered.empty() && told.give_back) told.give_back(std::move(unanswered));
    });
    even_without_memory([&] {
        if (told.ended) told.ended(*this);
    });
    even_without_memory([&] {
        if (closed) closed();
    });
}

void carrier::end(const io_failure& why) {
    over_ = true;
    connection_->close();
    if (!in_flight_.empty() && why.reason == reason::protocol_error) habits_->note_step(false);
    if (!in_flight_.empty() && in_flight_.front().dialogue->is_resetting()) {
        habits_->note_reset(false, clock::now());
    }
    const bool alone = in_flight_.size() == 1;
    if (!alone && !in_flight_.empty() && observer_.broke) observer_.broke(in_flight_.size());
    std::vector<std::shared_ptr<errand>> unanswered;
    bool is_head = true;
    for (auto& f : in_flight_) {
        const bool head = std::exchange(is_head, false);
        even_without_memory([&] {
            if (is_to_be_asked_elsewhere(f, head, alone, why)) unanswered.push_back(f.whose);
        });
    }
    in_flight_.clear();
    tell_end(std::move(unanswered));
}

// Or else it is answered, if it was not before.
bool carrier::is_to_be_asked_elsewhere(flight& f, bool head, bool alone, const io_failure& why) {
    if (!f.settled && f.whose->asked.trace) f.whose->asked.trace('*', why.why);
    f.whose->heard_opening = false;  // it may be asked about in another
    if (f.settled || f.whose->is_over() || f.elsewhere) return false;
    const auto& known = f.dialogue->result();
    // 421 to the first: this host wants nobody now.
    const bool unwelcome = known && answered_ == 0 && known->reply && known->reply->code == 421;
    if (known && (unwelcome || !f.resets) && why.reason != reason::protocol_error) {
        answer(f, *known);
        return false;
    }
    // The one whose turn it was may be why the session broke, or those that were sent behind it
    // or came before.
    const bool certain = !f.resets || (!known && !f.unsent && answered_ == 0 && alone);
    // Where not even its MAIL is answered, in a session that has answered others, that has died.
    const bool silent = answered_ > 0 && f.dialogue->at() == stage::mail;
    const bool slow = !known && why.reason == reason::timed_out && !silent;
    const bool blamed = head && (certain || slow);
    if (blamed) {
        answer(f, failed_at(f.dialogue->at(), why));
        return false;
    }
    if (head) f.whose->asked_again = true;
    return true;
}

}  // namespace callforward::smtpclient
