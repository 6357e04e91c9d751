#include "smtpclient/carrier.h"

#include "smtpclient/session.h"
#include "smtpclient/session_complaint.h"

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>

#include <algorithm>
#include <new>
#include <string_view>
#include <utility>

namespace callforward::smtpclient {

namespace {

using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto patience_for_reset = 250ms;  // of who waits for the next turn
// Of who waits for the verdict: what decides is known, and can be asked for in another session.
constexpr auto least_wait_for_reset = 1s;
constexpr auto most_wait_for_reset = 2s;
constexpr auto far_away = std::chrono::hours(24);

bool wants_less(const reply& r) {
    const auto enhanced = r.enhanced();
    return r.code == 421 || (r.status_class() == 4 && enhanced && enhanced->subject == 7);
}

void tell_lines(const question& q, std::string_view lines) {
    if (!q.trace) return;
    while (!lines.empty()) {
        const auto end = lines.find("\r\n");
        q.trace('C', lines.substr(0, end));
        lines = end == std::string_view::npos ? std::string_view{} : lines.substr(end + 2);
    }
}

void tell_reply(const question& q, const reply& r) {
    if (!q.trace) return;
    for (std::size_t i = 0; i < r.lines.size(); ++i) {
        const char separator = i + 1 < r.lines.size() ? '-' : ' ';
        q.trace('S', std::to_string(r.code) + separator + r.lines[i]);
    }
}

}  // namespace

carrier::carrier(std::unique_ptr<connection> c,
                 const extensions& offered,
                 verdict about,
                 std::chrono::milliseconds reply_timeout,
                 const session_limits& limits,
                 std::shared_ptr<reply_habits> habits,
                 std::string owner)
    : connection_(std::move(c)),
      offered_(offered),
      about_(std::move(about)),
      reply_timeout_(reply_timeout),
      limits_(limits),
      habits_(std::move(habits)),
      owner_(std::move(owner)),
      reused_(limits.reuses_sessions() && habits_->takes_reset(clock::now())),
      head_since_(clock::now()),
      idle_since_(head_since_) {}

void carrier::start(observer o) {
    closed_ = std::move(o.closed);
    observer_ = std::move(o);
    auto reader = read(shared_from_this());
    asio::co_spawn(connection_->executor(), std::move(reader), asio::detached);
}

bool carrier::has_room_for(const errand& e, std::size_t window, double refusals) const {
    if (over_ || retiring_ || e.owner != owner_) return false;
    if (e.asked_again) return submitted_ == 0;
    if (!reused_ && submitted_ > 0) return false;
    if (limits_.recipients_per_session != 0 && submitted_ >= limits_.recipients_per_session) {
        return false;
    }
    // One that may end in DATA shares with nobody: the connection may be dropped for it.
    const bool shares =
        offered_.pipelining && reused_ && e.asked.by->probe_until == probe_end::rcpt;
    if (!shares) return in_flight_.empty();
    // Those in flight should not have more refused than the session may.
    const std::size_t most = limits_.recipients_refused_per_session;
    const auto expected = static_cast<double>(in_flight_.size() + 1) * refusals;
    const auto left = static_cast<double>(most - std::min(refused_, most));
    if (most != 0 && !in_flight_.empty() && expected > left) return false;
    return in_flight_.size() < window;
}

std::size_t carrier::soon(std::size_t window) const {
    const bool learns = offered_.pipelining && reused_ && !over_ && !retiring_ && answered_ < 2;
    const bool waits = !in_flight_.empty() && clock::now() - head_since_ >= patience_for_reset;
    if (!learns || waits || in_flight_.size() >= window) return 0;
    return std::min(window - in_flight_.size(), left());
}

bool carrier::is_all_but_idle() const {
    return !over_ && !retiring_ && in_flight_.size() == 1 &&
           in_flight_.front().dialogue->is_resetting() &&
           clock::now() - head_since_ < patience_for_reset;
}

steady_time carrier::next_reply_by() const {
    if (said_quit_) return goodbye_by_;
    if (in_flight_.empty()) return clock::now() + far_away;
    const auto& head = *in_flight_.front().dialogue;
    if (head.is_resetting()) return std::min(reset_by_, head_since_ + reply_timeout_);
    const bool goodbye = head.says_goodbye();
    return head_since_ + (goodbye ? std::min<clock::duration>(patience_for_goodbye, reply_timeout_)
                                  : clock::duration(reply_timeout_));
}

void carrier::submit(std::shared_ptr<errand> e) {
    ++submitted_;
    flight f;
    f.alone = e->asked_again;
    f.resets = reused_ && !f.alone;
    // In a session for one there is no other to see that replies are out of step.
    const auto after = f.resets ? transaction::ending::rset : transaction::ending::quit;
    f.dialogue = std::make_unique<transaction>(e->asked, offered_, after);
    f.whose = std::move(e);
    f.sent = clock::now();
    f.ahead = in_flight_.size();
    const step first = f.dialogue->start();
    if (const auto* impossible = std::get_if<conclusion>(&first)) {
        // Nothing was said: who submits goes on, and this session is as it was.
        answer(f, *impossible);
        --submitted_;
        return;
    }
    introduce(*f.whose);
    tell_lines(f.whose->asked, std::get<send>(first).bytes);
    if (!f.resets) retiring_ = true;
    if (in_flight_.empty()) head_since_ = f.sent;
    in_flight_.push_back(std::move(f));
    if (in_flight_.size() == 1) {
        // A reply that came before its command answers something else.
        if (connection_->has_unread()) {
            in_flight_.front().unsent = true;
            end(unsolicited_reply());
            return;
        }
        // Nor did one come while there was time for it.
        if (answered_ > 0 && in_flight_.front().sent - idle_since_ > patience_for_reset)
            in_step_ = true;
        connection_->expect_reply_by(next_reply_by());
    }
    queue_bytes(std::get<send>(first).bytes);
}

// To a trace that was not there, how the session was opened.
void carrier::introduce(errand& e) const {
    if (!e.asked.trace || e.heard_opening) return;
    e.asked.trace('*', "in a session that was opened before, with " + about_.host);
    for (const auto& [side, line] : opening_) e.asked.trace(side, line);
    if (submitted_ > 1) {
        e.asked.trace('*',
                      "recipients asked about in it before: " + std::to_string(submitted_ - 1));
    }
}

// At once, which is nearly always all of it; a coroutine waits where the rest has to.
void carrier::queue_bytes(const std::string& bytes) {
    unsent_ += bytes;
    if (writing_) return;
    unsent_.erase(0, connection_->write_now(unsent_));
    if (unsent_.empty()) return;
    writing_ = true;
    try {
        auto writer = write(shared_from_this());
        asio::co_spawn(connection_->executor(), std::move(writer), asio::detached);
    } catch (const std::bad_alloc&) {  // what is unsent goes out with what comes next
        writing_ = false;
        throw;
    }
}

asio::awaitable<void> carrier::write([[maybe_unused]] std::shared_ptr<carrier> self) {
    try {
        while (!unsent_.empty() && !over_) {
            std::string bytes = std::move(unsent_);
            unsent_.clear();
            const auto by = clock::now() + reply_timeout_;
            const auto failure = co_await connection_->write(std::move(bytes), by);
            if (failure && !over_) {
                end(*failure);
                break;
            }
        }
    } catch (const std::bad_alloc&) {
        give_up();
    }
    writing_ = false;
}

asio::awaitable<void> carrier::read([[maybe_unused]] std::shared_ptr<carrier> self) {
    try {
        while (!over_) {
            const auto by = next_reply_by();
            auto answer = co_await connection_->read_reply(by);
            if (over_) break;
            if (auto* const lost = std::get_if<io_failure>(&answer)) {
                end(*lost);
            } else if (in_flight_.empty()) {
                const int code = std::get<reply>(answer).code;
                if (code != 421 && code != 221) habits_->note_step(false);
                end(unsolicited_reply());  // or the goodbye; in either case there is no more to say
            } else {
                on_reply(std::get<reply>(answer));
            }
        }
    } catch (const std::bad_alloc&) {
        give_up();
    }
}

void carrier::on_reply(const reply& r) {
    flight& f = in_flight_.front();
    // One command, one reply: whatever is here beside it answers nothing.
    const bool until_data = f.whose->asked.by->probe_until == probe_end::data;
    const bool nothing_else_due =
        !offered_.pipelining || ((until_data || !f.resets) && f.dialogue->replies_due() == 1);
    if (nothing_else_due && connection_->has_unread()) {
        end(unsolicited_reply());
        return;
    }
    tell_reply(f.whose->asked, r);
    step next = f.dialogue->on_reply(r);
    if (f.dialogue->is_resetting()) {
        const auto now = clock::now();
        reset_by_ = now + std::clamp<clock::duration>(
                              2 * (now - f.sent), least_wait_for_reset, most_wait_for_reset);
    }
    if (auto* const more = std::get_if<send>(&next)) {
        head_since_ = clock::now();
        // Without pipelining, in a session in step, the verdict does not wait for the reply to
        // RSET.
        tell_lines(f.whose->asked, more->bytes);
        if (f.resets && in_step_ && f.dialogue->result()) answer(f, *f.dialogue->result());
        queue_bytes(more->bytes);
        return;
    }
    const auto* const done = std::get_if<conclusion>(&next);
    if (done == nullptr) return;
    const bool last = in_flight_.size() == 1;
    const bool out_of_step = done->finding.reason == reason::protocol_error && !done->reply;
    if (out_of_step && f.resets) habits_->note_reset(false, clock::now());
    if (out_of_step || (last && connection_->has_unread())) {
        end(out_of_step ? io_failure{reason::protocol_error, done->detail} : unsolicited_reply());
        return;
    }
    land(*done);
}

// The first in flight has all its replies.
void carrier::land(const conclusion& c) {
    flight f = std::move(in_flight_.front());
    in_flight_.pop_front();
    const auto now = clock::now();
    // Before anybody is told, who may submit the next one.
    if (in_flight_.empty()) idle_since_ = now;
    const bool refused = c.reply && c.reply->status_class() == 5;
    if (observer_.answered && !f.elsewhere) observer_.answered(now - f.sent, f.ahead, refused);
    note_step(f, c);
    head_since_ = now;
    answer(f, c);
    ++answered_;
    if (c.hang_up) {
        hang_up();
        return;
    }
    if (c.reply && c.reply->code == 421) {
        end({reason::disconnected, "the next hop ended the session with 421"});
        return;
    }
    rest();
}

// Nothing was unread when it was sent, and its replies fit.
void carrier::note_step(const flight& f, const conclusion& c) {
    if (!f.resets || !c.reply || c.hang_up || c.stage < stage::rcpt) return;
    habits_->note_reset(true, clock::now());
    // RCPT was refused, and RSET was not: no reply is in another's place.
    if (c.stage == stage::rcpt && c.reply->status_class() >= 4) in_step_ = true;
    if (accepted_ && f.ahead == 0) habits_->note_step(true);
    if (c.reply->status_class() == 2) accepted_ = true;
}

// Without pipelining called twice: the reply to RSET comes after the verdict.
void carrier::answer(flight& f, const conclusion& c) {
    if (std::exchange(f.settled, true)) return;
    if (c.reply && wants_less(*c.reply) && observer_.throttled) observer_.throttled();
    if (c.reply && c.reply->status_class() == 5) ++refused_;
    const bool complaint = is_complaint(f, c);
    if (complaint || (c.reply && (c.reply->code == 421 || is_too_many_recipients(*c.reply)))) {
        retiring_ = true;
    }
    note_second_answer(f, c);
    if (f.whose->is_over()) return;
    if (complaint) {
        if (f.elsewhere || f.whose->asked_again) return;  // it is being asked elsewhere
        f.whose->asked_again = true;
        if (c.stage == stage::mail) f.whose->mail_refused = code_and_enhanced(*c.reply);
        if (observer_.give_back) observer_.give_back({f.whose});
        return;
    }
    host_answer a;
    a.verdict = about_;
    a.verdict.finding = c.finding;
    a.verdict.stage = c.stage;
    a.verdict.reply = c.reply;
    a.verdict.detail = c.detail;
    f.whose->give(std::move(a));
}

// Perhaps of the session, where that has answered others before: no verdict, then, but a reason to
// ask again in one of its own.
bool carrier::is_complaint(const flight& f, const conclusion& c) const {
    if (f.alone || answered_ == 0 || !c.reply || c.reply->status_class() == 2) return false;
    if (c.reply->code == 421) return true;
    if (c.stage == stage::mail) return !habits_->stands_by(*c.reply);
    return may_be_about_session(*c.reply);
}

void carrier::note_second_answer(const flight& f, const conclusion& c) {
    const std::string& before = f.whose->mail_refused;
    if (!f.alone || !c.reply || before.empty()) return;
    habits_->note_second_answer(before,
                                c.stage == stage::mail && code_and_enhanced(*c.reply) == before);
}

// After an answer: more, a pause, or the end.
void carrier::rest() {
    if (limits_.recipients_refused_per_session != 0 &&
        refused_ >= limits_.recipients_refused_per_session) {
        retiring_ = true;
    }
    if (limits_.recipients_per_session != 0 && submitted_ >= limits_.recipients_per_session) {
        retiring_ = true;
    }
    if (retiring_) {
        retire();
    } else if (observer_.has_room) {
        observer_.has_room();
    }
}

}  // namespace callforward::smtpclient
