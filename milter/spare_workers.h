// Lets libmilter start a worker whenever one is about to wait, so that no session waits for the
// answer to another's RCPT.
//
// libmilter as Debian builds it (_FFR_WORKERS_POOL, worker.c) starts a worker only when none is
// idle. Several sessions that become ready at once are all left to the one that is: it takes the
// first, and while that callback waits for a next hop the others wait with it, seconds perhaps. So
// a callback that is about to wait says so here, and a command that asks for nothing goes to
// libmilter over a milter connection of our own: there being no idle worker, one is started for it,
// looks for sessions that are ready, and takes one. If that callback waits as well, the next
// command follows at once; otherwise there is one in 3 ms at most, or in 24 ms where somebody waits
// all the time and the commands have found no session lately. Where nobody waits there is one a
// second, for the sessions that were left to a worker that hangs in the middle of a packet. (A
// limit by smfi_settimeout would also end sessions that are idle, as in a long DATA.) Never blocks;
// without a connection, and with a libmilter that has a thread for each session, nothing is lost
// but some small writes. No RCPT ever comes over these connections. Thread: any.
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace callforward::milter {

class spare_workers {
public:
    spare_workers();
    ~spare_workers();
    spare_workers(const spare_workers&) = delete;
    spare_workers& operator=(const spare_workers&) = delete;

    // Once, when the socket listens, and while we may still connect to it. What fails is logged.
    void open(const std::string& socket);
    // The calling thread is libmilter's, and is about to wait.
    void about_to_wait();
    // Of xxfi_unknown: true when the command is ours. Called on the thread that serves it.
    [[nodiscard]] bool serve(std::string_view command);

private:
    using clock = std::chrono::steady_clock;

    struct line {  // one connection
        int socket = -1;
        std::size_t due = 0;  // bytes of replies that are still to come
    };
    void run();
    [[nodiscard]] line connected();
    void call();
    [[nodiscard]] static bool is_free(line& l);
    [[nodiscard]] static bool say(const line& l, std::string_view bytes);
    static void hang_up(line& l);

    const std::string word_;  // that nobody else can say
    const std::string command_;
    std::string at_;
    std::mutex mutex_;
    std::condition_variable changed_;
    // They are the first sessions of libmilter's list, where an idle worker looks first.
    std::array<line, 4> lines_;
    std::size_t next_ = 0;
    bool wanted_ = false;                 // a call, as soon as it may be
    std::chrono::milliseconds pause_{0};  // before it
    bool ends_ = false;
    // Of the thread that connects alone.
    clock::time_point tried_;
    bool unreachable_ = false;
    std::thread thread_;
};

}  // namespace callforward::milter
