// One next hop: its queue, its sessions, and how much it may be asked at once.
//
// Errands go to a session that has room, or wait; while they wait sessions are opened, up to a
// number that begins at 4, grows to connections_per_host while errands still have to wait, and is
// halved when the next hop wants less (421, 4.7.x, a connection refused while others stand). How
// many errands one session carries at once follows what it is good for: one until replies were seen
// to be in step, then many where answers come together, one where each answer takes its own time. A
// session has a successor before its recipients_per_session are used up, the sooner the more are in
// flight. Who waits behind a slow one is asked elsewhere. A host that could not be reached is left
// alone for host_penalty, and then tried by one errand; so is one address of several. Where the
// next hop is told of the client (XCLIENT, PROXY protocol) a session has an owner and carries
// nobody else's errands; a client that waits then gets the place of another's session. Owner:
// call_forward, shared with the coroutines that open and watch sessions. One event loop thread.
#pragma once

#include "smtpclient/allowance.h"
#include "smtpclient/carrier.h"
#include "smtpclient/errand.h"
#include "smtpclient/host_state.h"
#include "smtpclient/reply_habits.h"
#include "smtpclient/session.h"
#include "smtpclient/session_limits.h"
#include "smtpclient/shunned_addresses.h"
#include "smtpclient/targets.h"
#include "smtpclient/tls_plan.h"

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/steady_timer.hpp>

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace callforward::smtpclient {

class host : public std::enable_shared_from_this<host> {
public:
    struct manner {  // how it is spoken to; part of what makes two hosts one
        std::shared_ptr<const transport> by;
        std::string helo;
        std::shared_ptr<const tls_context> tls;  // one for all hosts with the same files
        smtpclient::trace trace;  // set by the host: to who waits for a session first
        std::string key;          // what makes it this host and no other
    };

    // The resolver must outlive the host, or close() be called before it goes.
    host(asio::any_io_executor executor,
         dns::resolver& resolver,
         std::shared_ptr<const reach> r,
         target t,
         manner how,
         const session_limits& limits);
    ~host();
    host(const host&) = delete;
    host& operator=(const host&) = delete;

    // Where several processes share a limit: before the first ask().
    void share(std::shared_ptr<allowance> a) { allowance_ = std::move(a); }
    // Never throws because of the next hop; ends by q.deadline.
    [[nodiscard]] asio::awaitable<host_answer> ask(std::shared_ptr<const question> q);
    [[nodiscard]] const std::string& key() const { return how_.key; }
    [[nodiscard]] host_state state() const;
    // No session, nobody waiting, no penalty.
    [[nodiscard]] bool is_forgettable() const;
    [[nodiscard]] bool has_nothing_to_do() const;  // the same, whatever its penalty
    // Sessions say goodbye; nothing is asked any more.
    void close();

private:
    static constexpr std::size_t most_in_flight = 100;  // in one session
    static constexpr std::size_t errands_at_first = 8;  // the same, before its pace is known

    using errands = std::deque<std::shared_ptr<errand>>;

    struct opening_state {           // of one session that is being opened
        std::string owner;           // of the session, when sessions have owners
        bool has_leave = false;      // or needs none
        stage at = stage::route;     // where it stands
        std::size_t attempts = 0;    // connections
        bool is_wrong_name = false;  // why the last of them failed
    };
    class opening_place;
    asio::awaitable<void> open(std::unique_ptr<opening_place> place, std::shared_ptr<errand> whom);
    asio::awaitable<bool> obtain_leave(opening_state& state);
    void settle_leaves();
    asio::awaitable<std::optional<host_answer>> try_endpoints(
        std::vector<endpoint> endpoints,
        tls_plan plan,
        std::shared_ptr<const connection_place> place,
        opening_state& state);
    asio::awaitable<std::optional<verdict>> try_socket(
        endpoint e,
        stream_socket socket,
        tls_plan plan,
        std::shared_ptr<const connection_place> place,
        opening_state& state);
    asio::awaitable<void> watch(std::shared_ptr<host> self);
    void dispatch();
    [[nodiscard]] std::shared_ptr<carrier> session_for(const errand& e) const;
    void open_more();
    void open_successors();
    [[nodiscard]] std::size_t turns_to_open() const;
    void open_one(std::shared_ptr<errand> whom);
    [[nodiscard]] bool has_room_for_session() const;
    [[nodiscard]] bool sessions_have_owners() const;
    [[nodiscard]] std::shared_ptr<errand> whom_to_open_for(std::size_t alone) const;
    [[nodiscard]] std::optional<verdict> introduce_client(stream_socket& socket,
                                                          const endpoint& e) const;
    void make_way();
    void take(std::unique_ptr<connection> c, const opened& session, const endpoint& e);
    void begin_to_watch();
    void look_after_sessions();
    void put_back(std::vector<std::shared_ptr<errand>> back);
    void be_content();
    void fail(const host_answer& a, steady_time began, const errand* whom);
    void tell_waiting(const host_answer& a, const std::function<bool(const errand&)>& concerns);
    [[nodiscard]] std::size_t with_leave() const;
    [[nodiscard]] bool is_opened_for(const std::string& owner) const;
    [[nodiscard]] bool is_served(const std::string& owner) const;
    void ask_for_less();
    void note_pace(std::chrono::nanoseconds latency, std::size_t ahead);
    void note_outcome(bool refused);
    [[nodiscard]] double gap() const;
    [[nodiscard]] std::size_t window() const;
    [[nodiscard]] std::size_t soon() const;
    [[nodiscard]] steady_time stalled_since() const;
    [[nodiscard]] std::size_t stalled() const;  // sessions
    [[nodiscard]] std::size_t waiting_alone() const;
    [[nodiscard]] std::optional<host_answer> penalty();
    [[nodiscard]] host_answer too_late() const;
    [[nodiscard]] host_answer unasked(reason why, stage at, std::string detail) const;
    [[nodiscard]] verdict at(const endpoint& e) const;
    void note_name(const std::string& name);
    void tell(const std::string& what) const;
    void note_error(const verdict& v);
    [[nodiscard]] manner with_trace(manner how);
    void hear(char side, std::string_view line);

    asio::any_io_executor executor_;
    dns::resolver& resolver_;
    std::shared_ptr<const reach> reach_;
    const target target_;
    const std::string place_name_;  // under which all that is one host to connect to is counted
    // Shared with the traces of connections, which may outlive the host: nothing then.
    const std::shared_ptr<host*> ear_ = std::make_shared<host*>(this);
    const manner how_;
    const session_limits limits_;
    asio::steady_timer pause_;  // between the looks of watch()
    const std::shared_ptr<tls_sessions> tls_sessions_ = std::make_shared<tls_sessions>();

    errands waiting_;
    std::vector<std::shared_ptr<carrier>> carriers_;
    const std::shared_ptr<reply_habits> habits_ = std::make_shared<reply_habits>();
    std::size_t connected_ = 0;                   // carriers_, and those that are saying goodbye
    std::vector<const opening_state*> openings_;  // under way; each lives in its opening_place
    bool one_failed_ = false;  // of the openings, with no session there: no more are begun
    std::shared_ptr<allowance> allowance_;  // nothing: limits_ alone; shared with all hosts
    std::vector<std::shared_ptr<void>>
        leaves_;  // one for each session, and each opening that has it
    bool watching_ = false;
    bool closed_ = false;
    std::vector<std::string> names_;  // what it goes by, bounded

    std::size_t most_sessions_;
    bool opened_since_growth_ = false;  // the next hop has taken in what it was last asked for
    steady_time shrunk_at_;
    std::chrono::steady_clock::duration rest_{};  // from openings that failed beside sessions
    steady_time rests_until_;
    double opening_takes_ = 0;  // seconds, the last one
    double latency_ = 0;        // smoothed seconds to an answer that waited for no other
    double most_in_flight_;     // in one session; less where sessions break
    double refusals_ = 0;       // smoothed share of the recipients
    // Both smoothed, of recipients that were sent behind others.
    double kept_ = 0;   // seconds that those kept it waiting
    double ahead_ = 0;  // how many they were; 0: there was none yet

    shunned_addresses shunned_;
    bool ailing_ = false;  // the last opening failed with no session left
    steady_time penalty_ends_;
    std::string ailment_;
    std::string last_error_;  // of an opening that failed
    steady_time last_error_at_;
};

}  // namespace callforward::smtpclient
