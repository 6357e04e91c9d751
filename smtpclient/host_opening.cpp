// How a host opens a session: its endpoints, one after the other, until one lets us in.
#include "smtpclient/connect.h"
#include "smtpclient/connection_count.h"
#include "smtpclient/dane.h"
#include "smtpclient/host.h"
#include "smtpclient/reach.h"

#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <utility>

namespace callforward::smtpclient {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t most_endpoints = 8;
constexpr std::chrono::seconds shortest_rest{1};  // after an opening that failed
constexpr std::chrono::seconds longest_rest{30};
constexpr std::chrono::milliseconds between_tries{100};  // to get leave for a first connection

bool failed_to_secure(const conclusion& c) {
    return c.stage == stage::handshake && !c.reply;
}

void choose_source(const transport& by, endpoint& e) {
    for (const auto& own : by.source_addresses) {
        if (e.address && own.is_v4() == e.address->is_v4()) e.from = own;
    }
}

}  // namespace

// Among those that are being opened until it ends, whatever is thrown in between: without memory
// it would otherwise take a place for ever. It holds the host, which it needs when an event loop
// goes with an opening under way: in what order a coroutine's parameters are destroyed then is not
// to be relied on.
class host::opening_place {
public:
    opening_place(std::shared_ptr<host> at, const errand* whom)
        : at_(std::move(at)),
          at_host_(at_->limits_.connections_per_host == 0
                       ? nullptr
                       : std::make_shared<const place_at_host>(at_->place_name_)) {
        if (whom != nullptr) state.owner = whom->owner;
        state.has_leave = !at_->allowance_ || !at_->target_.socket_path.empty();
        at_->openings_.push_back(&state);
    }
    ~opening_place() { end(); }
    opening_place(const opening_place&) = delete;
    opening_place& operator=(const opening_place&) = delete;
    [[nodiscard]] std::shared_ptr<const place_at_host> at_host() const { return at_host_; }
    void end() {
        if (std::exchange(over_, true)) return;
        at_host_.reset();  // the session has it, if there is one
        std::erase(at_->openings_, &state);
        if (at_->openings_.empty()) at_->one_failed_ = false;
    }

    opening_state state;

private:
    std::shared_ptr<host> at_;
    std::shared_ptr<const place_at_host> at_host_;
    bool over_ = false;
};

// whom: the one it is opened for; nobody where sessions have no owners.
void host::open_one(std::shared_ptr<errand> whom) {
    if (!sessions_have_owners()) whom.reset();
    auto place = std::make_unique<opening_place>(shared_from_this(), whom.get());
    auto opener = open(std::move(place), std::move(whom));
    asio::co_spawn(executor_, std::move(opener), asio::detached);
}

// Opens one session, or finds out that none can be had: never before who wants it goes on, for it
// may find that out without waiting for anything.
asio::awaitable<void> host::open(std::unique_ptr<opening_place> place,
                                 std::shared_ptr<errand> whom) {
    co_await asio::post(executor_, asio::use_awaitable);
    const bool may = co_await obtain_leave(place->state);
    if (!may || closed_) co_return;  // closed: the resolver may be gone
    const auto began = clock::now();
    auto found = co_await find_endpoints(resolver_, reach_, target_, how_.trace);
    std::optional<host_answer> failure;
    if (!closed_ && found.verdict) {
        failure.emplace();
        failure->verdict = std::move(*found.verdict);
        failure->verdict.host = target_.name;
        failure->is_self = found.is_self;
        failure->no_addresses = found.no_addresses;
    } else if (!closed_) {
        for (const auto& e : found.endpoints)
            note_name(e.address ? e.address->text() : e.socket_path);
        const auto now = clock::now();
        shunned_.put_last(found.endpoints, now, now + limits_.host_penalty);
        if (found.endpoints.size() > most_endpoints) found.endpoints.resize(most_endpoints);
        auto plan = plan_tls(how_.by->tls, target_, how_.helo);
        if (may_rise_to_dane(plan.level)) {
            plan = co_await plan_dane(
                resolver_, std::move(plan), target_, found.secure, found.canonical, how_.trace);
        }
        plan = by_sts(std::move(plan), how_.by->tls, target_);
        auto connection =
            std::make_shared<const connection_place>(limits_.connections, place->at_host());
        if (!connection->is_granted()) {
            // Not of stage connect: the host has done nothing, and gets no penalty.
            failure =
                unasked(reason::overloaded, stage::route, "too many connections to next hops");
        } else if (plan.fault.empty()) {
            auto endpoints = std::move(found.endpoints);
            for (auto& e : endpoints) {
                choose_source(*how_.by, e);
                if (sessions_have_owners()) e.client = whom->asked.client;
            }
            failure = co_await try_endpoints(
                std::move(endpoints), std::move(plan), std::move(connection), place->state);
        } else {
            tell(plan.fault);
            failure = unasked(reason::dane_failed, stage::route, plan.fault);
        }
    }
    place->end();
    settle_leaves();
    if (closed_) co_return;
    if (failure) {
        note_error(failure->verdict);
        failure->attempts = place->state.attempts;
        fail(*failure, began, whom.get());
    } else {
        opening_takes_ = std::chrono::duration<double>(clock::now() - began).count();
        ailing_ = false;
        one_failed_ = false;
        rest_ = {};
        rests_until_ = {};
        dispatch();
    }
}

// The sessions that there are carry on, and no more are tried for now: not for those that wait
// behind a slow answer either, or each failure would be followed by the next.
void host::be_content() {
    const auto now = clock::now();
    shrunk_at_ = now;
    most_sessions_ = std::min(most_sessions_, carriers_.size());
    if (now < rests_until_) return;  // those that were begun together fail together
    rest_ = std::clamp<clock::duration>(2 * rest_, shortest_rest, longest_rest);
    rests_until_ = now + rest_;
}

// Waits for it where there is no session yet; where there is one, who waits has that, and the next
// look of watch() asks again.
asio::awaitable<bool> host::obtain_leave(opening_state& state) {
    if (state.has_leave) co_return true;
    asio::steady_timer timer(executor_);
    for (;;) {
        auto leave = co_await allowance_->take(place_name_);
        if (leave) {
            leaves_.push_back(std::move(leave));
            state.has_leave = true;
            co_return true;
        }
        if (closed_ || waiting_.empty() || !carriers_.empty()) co_return false;
        timer.expires_after(between_tries);
        std::error_code ignored;
        auto token = asio::redirect_error(asio::use_awaitable, ignored);
        co_await timer.async_wait(token);
    }
}

// The leave of a session that is over is not kept for one that still has to get its own: where all
// who share the limit did that, none would get any.
void host::settle_leaves() {
    const std::size_t needed = carriers_.size() + with_leave();
    leaves_.resize(std::min(leaves_.size(), needed));
}

// Nothing when a session was opened.
asio::awaitable<std::optional<host_answer>> host::try_endpoints(
    std::vector<endpoint> endpoints,
    tls_plan plan,
    std::shared_ptr<const connection_place> place,
    opening_state& state) {
    host_answer failure;
    const auto deadline = clock::now() + how_.by->timeout;
    while (!endpoints.empty() && !closed_ && clock::now() < deadline) {
        state.at = stage::connect;
        auto line = co_await connect_any(endpoints, how_.by->connect_timeout, deadline);
        state.attempts += line.failed.size() + (line.socket ? 1 : 0);
        if (!line.socket) {
            if (failure.verdict.stage >= stage::connect) break;  // an earlier one says more
            if (line.without_means) {
                tell(line.why);
                co_return unasked(reason::overloaded, stage::route, line.why);
            }
            failure.verdict = at(endpoints.front());
            failure.verdict.address.clear();
            failure.verdict.finding = {verdict_class::unreachable,
                                       line.timed_out ? reason::timed_out : reason::connect_failed};
            failure.verdict.stage = stage::connect;
            failure.verdict.detail = line.why;
            tell(line.why);
            break;
        }
        const endpoint winner = endpoints[line.which];
        shunned_.forget(winner);
        for (const std::size_t i : line.failed) {
            shunned_.note(endpoints[i], clock::now() + limits_.host_penalty);
        }
        line.failed.push_back(line.which);
        std::sort(line.failed.rbegin(), line.failed.rend());
        for (const std::size_t i : line.failed) {
            endpoints.erase(endpoints.begin() + static_cast<std::ptrdiff_t>(i));
        }
        auto socket = std::move(*line.socket);
        auto failed = co_await try_socket(winner, std::move(socket), plan, place, state);
        if (!failed) co_return std::nullopt;
        if (failed->stage >= failure.verdict.stage) failure.verdict = std::move(*failed);
        failure.is_wrong_name = failure.is_wrong_name || state.is_wrong_name;
    }
    co_return failure;
}

asio::awaitable<std::optional<verdict>> host::try_socket(
    endpoint e,
    stream_socket socket,
    tls_plan plan,
    std::shared_ptr<const connection_place> place,
    opening_state& state) {
    tell("connected to " + e.text());
    if (auto unsaid = introduce_client(socket, e)) co_return std::move(*unsaid);
    auto c = std::make_unique<connection>(std::move(socket), how_.trace, place);
    const auto deadline = clock::now() + how_.by->timeout;
    opening::options options;
    options.helo = how_.helo;
    options.protocol = target_.protocol;
    options.tls = plan.level;
    options.login = how_.by->login;
    options.rules = how_.by->rules;
    if (how_.by->xclient) options.client = e.client;
    tls_setup tls{how_.tls, plan.demand, tls_sessions_};
    auto session = co_await open_session(
        *c, std::move(options), std::move(tls), how_.by->reply_timeout, deadline, state.at);
    for (const auto& name : session.peer_names) note_name(name);
    if (closed_) co_return std::nullopt;
    if (!session.failed) {
        take(std::move(c), session, e);
        co_return std::nullopt;
    }
    verdict v = at(e);
    v.finding = session.failed->finding;
    v.stage = session.failed->stage;
    v.reply = session.failed->reply;
    v.detail = session.failed->detail;
    state.is_wrong_name = c->is_wrong_name();
    const bool again_in_clear = failed_to_secure(*session.failed) && plan.level == tls_level::may &&
                                !how_.by->login.wanted() && target_.protocol != protocol::smtps;
    if (!again_in_clear) co_return v;
    // RFC 7435: opportunistic TLS that fails must not make delivery worse than none.
    tell("again in clear, on a new connection");
    c.reset();
    const std::vector<endpoint> same{e};
    auto line = co_await connect_any(same, how_.by->connect_timeout, deadline);
    ++state.attempts;
    if (!line.socket || closed_) co_return v;
    auto second = std::move(*line.socket);
    plan.level = tls_level::none;
    co_return co_await try_socket(e, std::move(second), std::move(plan), std::move(place), state);
}

// What the PROXY protocol wants before anything else.
std::optional<verdict> host::introduce_client(stream_socket& socket, const endpoint& e) const {
    if (!how_.by->proxy_protocol) return std::nullopt;
    tell(e.client ? "PROXY protocol: for " + e.client->address.text() : "PROXY protocol: local");
    const std::string header = proxy_header(e.client, e.address, e.port);
    // So few bytes fit into the buffer of a new connection: this does not wait.
    std::error_code ec;
    const std::size_t written = socket.write_some(asio::buffer(header), ec);
    if (!ec && written == header.size()) return std::nullopt;
    verdict v = at(e);
    v.finding = {verdict_class::unreachable, reason::disconnected};
    v.stage = stage::connect;
    v.detail = "the PROXY protocol's header could not be written";
    return v;
}

}  // namespace callforward::smtpclient
