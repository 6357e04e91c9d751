#include "smtpclient/host.h"

#include "smtpclient/connection_count.h"
#include "smtpclient/reach.h"

#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

namespace callforward::smtpclient {

namespace {

using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t sessions_at_first = 4;
constexpr std::size_t least_turns_to_open = 3;  // greeting, EHLO, and what is in flight then
constexpr std::size_t most_turns_to_open = 12;
constexpr std::size_t most_names = 64;
constexpr auto rest_after_shrinking = 10s;

std::string name_of_place(const target& t) {
    if (!t.socket_path.empty()) return t.socket_path;
    return (t.literal ? t.literal->text() : t.name) + '/' + std::to_string(t.port);
}

}  // namespace

host::host(asio::any_io_executor executor,
           dns::resolver& resolver,
           std::shared_ptr<const reach> r,
           target t,
           manner how,
           const session_limits& limits)
    : executor_(std::move(executor)),
      resolver_(resolver),
      reach_(std::move(r)),
      target_(std::move(t)),
      place_name_(name_of_place(target_)),
      how_(with_trace(std::move(how))),
      limits_(limits),
      pause_(executor_),
      most_sessions_(sessions_at_first),
      shrunk_at_(clock::now() - rest_after_shrinking),
      most_in_flight_(most_in_flight) {
    if (limits_.connections_per_host != 0) {
        most_sessions_ = std::min(most_sessions_, limits_.connections_per_host);
    }
}

host::~host() {
    *ear_ = nullptr;
}

host::manner host::with_trace(manner how) {
    auto heard = [ear = ear_](char side, std::string_view line) {
        if (*ear != nullptr) (*ear)->hear(side, line);
    };
    how.trace = without_secrets(std::move(heard), how.by->login);
    return how;
}

// How a session is opened is told to the one that has waited longest: it will be its own.
void host::hear(char side, std::string_view line) {
    if (waiting_.empty() || !waiting_.front()->asked.trace) return;
    waiting_.front()->heard_opening = true;
    waiting_.front()->asked.trace(side, line);
}

asio::awaitable<host_answer> host::ask(std::shared_ptr<const question> q) {
    if (auto left_alone = penalty()) co_return std::move(*left_alone);
    const auto mine = std::make_shared<errand>(executor_, std::move(q));
    waiting_.push_back(mine);
    dispatch();
    if (!mine->answer) {
        std::error_code ignored;
        auto token = asio::redirect_error(asio::use_awaitable, ignored);
        co_await mine->answered.async_wait(token);
    }
    if (mine->answer) {
        mine->answer->names = names_;
        co_return std::move(*mine->answer);
    }
    mine->abandoned = true;
    std::erase(waiting_, mine);
    co_return too_late();
}

// The asker's time is up while the errand waits for a session, or in one.
host_answer host::too_late() const {
    if (!carriers_.empty()) return unasked(reason::timed_out, stage::rcpt, "no answer in time");
    stage furthest = stage::route;
    for (const auto* const one : openings_) furthest = std::max(furthest, one->at);
    if (!openings_.empty() && with_leave() == 0) {
        return unasked(reason::overloaded, furthest, "no leave yet for a connection");
    }
    const auto why = furthest == stage::route ? reason::dns_unavailable : reason::timed_out;
    return unasked(why, furthest, "no answer in time");
}

// About the host as a whole: no address of it has said this.
host_answer host::unasked(reason why, stage at, std::string detail) const {
    host_answer a;
    a.verdict.finding = {usual_class(why), why};
    a.verdict.stage = at;
    a.verdict.host = target_.text();
    if (target_.socket_path.empty()) a.verdict.port = target_.port;
    a.verdict.detail = std::move(detail);
    a.names = names_;
    return a;
}

bool host::is_forgettable() const {
    return has_nothing_to_do() && (!ailing_ || clock::now() >= penalty_ends_);
}

bool host::has_nothing_to_do() const {
    return carriers_.empty() && waiting_.empty() && openings_.empty();
}

void host::close() {
    closed_ = true;
    for (const auto& c : carriers_) c->disown();
    carriers_.clear();
    pause_.cancel();
}

std::optional<host_answer> host::penalty() {
    // While the one that tries it is under way, the others still keep away.
    if (!ailing_ || (clock::now() >= penalty_ends_ && openings_.empty())) return std::nullopt;
    return unasked(reason::host_penalty, stage::connect, "left alone for now: " + ailment_);
}

void host::dispatch() {
    std::size_t i = 0;
    while (i < waiting_.size() && !closed_) {
        const auto next = waiting_[i];
        const auto session = next->is_over() ? nullptr : session_for(*next);
        if (!session && !next->is_over()) {
            if (!next->asked_again && !sessions_have_owners()) break;
            ++i;  // it needs a session of its own, or of its client; those behind it do not
            continue;
        }
        waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
        if (session) {
            session->submit(next);
            if (!session->is_retiring()) open_successors();
            i = 0;  // who waits may have changed
        }
    }
    open_more();
}

// What the sessions may still carry should last until the next one is open, at the rate of now: by
// then all that is in flight has been answered, and come anew, several times over.
void host::open_successors() {
    const std::size_t most = limits_.recipients_per_session;
    if (most == 0 || !limits_.reuses_sessions() || sessions_have_owners() || ailing_ ||
        clock::now() < rests_until_) {
        return;
    }
    const std::size_t enough = most / 4;
    std::size_t left = openings_.size() * most;
    std::size_t in_flight = 0;
    std::size_t lasting = openings_.size();
    for (const auto& c : carriers_) {
        left += c->left();
        in_flight += c->load();
        if (c->left() > enough) ++lasting;
    }
    const std::size_t needed = std::max(enough, in_flight * turns_to_open());
    while (left < needed && lasting < most_sessions_ && has_room_for_session()) {
        open_one(nullptr);
        left += most;
        ++lasting;
    }
}

// How often what is in flight is answered, and comes anew, until another session is open.
std::size_t host::turns_to_open() const {
    if (latency_ == 0) return least_turns_to_open;
    const double turns = std::round(opening_takes_ / latency_) + 1;
    return static_cast<std::size_t>(
        std::clamp<double>(turns, least_turns_to_open, most_turns_to_open));
}

std::shared_ptr<carrier> host::session_for(const errand& e) const {
    std::shared_ptr<carrier> best;
    const std::size_t room = window();
    // Where none can have a successor before it ends, they are used up one after the other: all
    // would end at once, and everybody wait for new ones.
    const bool stagger = !has_room_for_session();
    const std::size_t half = stagger ? limits_.recipients_per_session / 2 : 0;
    const auto is_better = [&](const carrier& c) {
        const std::size_t left = std::min(half, c.left());
        const std::size_t best_left = std::min(half, best->left());
        return left != best_left ? left < best_left : c.load() < best->load();
    };
    for (const auto& c : carriers_) {
        if (c->has_room_for(e, room, refusals_) && (!best || is_better(*c))) best = c;
    }
    return best;
}

std::size_t host::waiting_alone() const {
    return static_cast<std::size_t>(std::count_if(
        waiting_.begin(), waiting_.end(), [](const auto& e) { return e->asked_again; }));
}

// One that needs a session of its own gets the place of another, which takes no more.
void host::make_way() {
    std::shared_ptr<carrier> least;
    for (const auto& c : carriers_) {
        if (c->is_retiring()) return;
        if (!least || c->load() < least->load()) least = c;
    }
    if (least) least->retire();
}

void host::open_more() {
    if (closed_ || waiting_.empty() || one_failed_) return;
    const auto soon_free = std::count_if(
        carriers_.begin(), carriers_.end(), [](const auto& c) { return c->is_all_but_idle(); });
    const std::size_t alone = waiting_alone();
    const bool owners = sessions_have_owners();
    if (alone == 0 && !owners && waiting_.size() <= static_cast<std::size_t>(soon_free)) return;
    const std::size_t most = limits_.connections_per_host;
    const std::size_t stuck = stalled();
    auto whom = whom_to_open_for(alone);
    const bool full = carriers_.size() - stuck + openings_.size() >= most_sessions_;
    const bool taken_in = openings_.empty() || opened_since_growth_;
    const bool rested = clock::now() - shrunk_at_ >= rest_after_shrinking;
    if (whom && full && taken_in && rested && (most == 0 || most_sessions_ < most)) {
        ++most_sessions_;
        opened_since_growth_ = false;
    }
    // An ailing host is tried by one.
    const std::size_t beside_stuck = clock::now() < rests_until_ ? 0 : stuck;
    std::size_t sessions = ailing_ ? 1 : most_sessions_ + beside_stuck;
    if (most != 0) sessions = std::min(sessions, most);
    while (whom && carriers_.size() + openings_.size() < sessions && has_room_for_session()) {
        open_one(std::move(whom));
        whom = whom_to_open_for(alone);
    }
    // While one says its goodbye, no other is sent away for the same purpose.
    const bool place_is_coming = connected_ > carriers_.size();
    const bool needed = owners ? whom != nullptr : alone > 0 && openings_.empty();
    if (needed && !place_is_coming) make_way();
}

bool host::sessions_have_owners() const {
    return how_.by->xclient || how_.by->proxy_protocol;
}

// Nothing when nobody needs one more session than are being opened.
std::shared_ptr<errand> host::whom_to_open_for(std::size_t alone) const {
    if (!sessions_have_owners()) {
        const bool needed = openings_.size() * errands_at_first + soon() < waiting_.size();
        return needed || openings_.size() < alone ? waiting_.front() : nullptr;
    }
    const auto next = std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& e) {
        return !e->is_over() && !is_opened_for(e->owner);
    });
    return next == waiting_.end() ? nullptr : *next;
}

// The next hop counts those that have said goodbye until they are closed. It counts those of others
// who ask it, too; but each of them has one that answers.
bool host::has_room_for_session() const {
    const std::size_t most = limits_.connections_per_host;
    const std::size_t own = connected_ + openings_.size();
    if (most == 0) return true;
    if (own >= most) return false;
    return place_at_host::taken(place_name_) < most || own == stalled();
}

void host::put_back(std::vector<std::shared_ptr<errand>> back) {
    waiting_.insert(waiting_.begin(), back.begin(), back.end());
    dispatch();
}

void host::note_error(const verdict& v) {
    last_error_ = v.detail.empty() && v.reply
                      ? std::to_string(v.reply->code) + ' ' + v.reply->text()
                      : v.detail;
    last_error_at_ = clock::now();
}

// An opening that began then; whom: the one it was for, where sessions have owners.
void host::fail(const host_answer& a, steady_time began, const errand* whom) {
    const verdict& v = a.verdict;
    const bool lets_in_nobody = v.stage <= stage::connect;
    if (whom != nullptr && !lets_in_nobody && !is_served(whom->owner)) {
        // It may be about the one client that the host was told of.
        if (v.reply) ailing_ = false;
        tell_waiting(a, [&](const errand& e) { return e.owner == whom->owner; });
        dispatch();
        return;
    }
    if (!carriers_.empty()) {
        be_content();
        dispatch();
        return;
    }
    // Of those that were begun together one may be let in where others were sent away. But who has
    // waited in vain for as long as a next hop may take has no time left for the next of them.
    const bool last = with_leave() == 0;
    one_failed_ = !last;
    if (!last && v.finding.reason != reason::timed_out) return;
    // Only a host that could not be spoken with is left alone: one that has answered is there.
    const bool out_of_reach = v.stage == stage::connect || (v.stage == stage::greeting && !v.reply);
    if (out_of_reach && limits_.host_penalty.count() > 0) {
        ailing_ = true;
        penalty_ends_ = clock::now() + limits_.host_penalty;
        ailment_ = v.detail;
    } else if (v.stage >= stage::greeting) {
        ailing_ = false;
    }
    tell_waiting(a, [&](const errand& e) { return last || e.since <= began; });
}

void host::tell_waiting(const host_answer& a, const std::function<bool(const errand&)>& concerns) {
    const errands all = std::exchange(waiting_, {});
    for (const auto& e : all) {
        if (!concerns(*e)) {
            waiting_.push_back(e);
            continue;
        }
        if (!e->heard_opening && e->asked.trace) e->asked.trace('*', last_error_);
        e->give(a);
    }
}

// Of the openings under way.
std::size_t host::with_leave() const {
    return static_cast<std::size_t>(std::count_if(
        openings_.begin(), openings_.end(), [](const auto* one) { return one->has_leave; }));
}

bool host::is_opened_for(const std::string& owner) const {
    return std::any_of(
        openings_.begin(), openings_.end(), [&](const auto* one) { return one->owner == owner; });
}

bool host::is_served(const std::string& owner) const {
    return std::any_of(
        carriers_.begin(), carriers_.end(), [&](const auto& c) { return c->owner() == owner; });
}

verdict host::at(const endpoint& e) const {
    verdict v;
    v.address = e.address ? e.address->text() : e.text();
    v.host = target_.name.empty() ? v.address : target_.name;
    v.port = e.port;
    return v;
}

void host::note_name(const std::string& name) {
    if (names_.size() >= most_names) return;
    if (std::find(names_.begin(), names_.end(), name) == names_.end()) names_.push_back(name);
}

void host::tell(const std::string& what) const {
    if (how_.trace) how_.trace('*', what);
}

}  // namespace callforward::smtpclient
