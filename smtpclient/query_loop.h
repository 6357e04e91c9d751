// Many queries on one event loop thread that keeps its sessions with next hops.
//
// What query() is for one call, this is for many: they run side by side, and share sessions, DNS
// answers and the limits of each host (host.h). start() is for
// any thread; completions run on the loop's own thread, one after the other, and must neither
// throw nor wait. The loop's thread blocks all signals: they are the program's. A process that
// forks has no such thread in the child: make the loop after the fork.
#pragma once

#include "smtpclient/query.h"
#include "smtpclient/session_limits.h"

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace callforward::smtpclient {

struct query_loop_options {
    session_limits limits;
    std::vector<std::string> dns_servers;         // as [dns] servers; empty: resolv.conf
    std::chrono::milliseconds dns_timeout{5000};  // one question
};

class query_loop {
public:
    // Without an exception the result is valid. An exception is about this process (no memory).
    using completion = std::function<void(std::exception_ptr, query_result)>;

    // Throws std::runtime_error when a DNS server is not understood, or no thread can be had.
    explicit query_loop(const query_loop_options& options);
    // As stop(); then completions of calls under way are destroyed, uncalled.
    ~query_loop();
    query_loop(const query_loop&) = delete;
    query_loop& operator=(const query_loop&) = delete;

    // Its time has begun when it was prepared.
    void start(prepared_query asked, completion done);
    // Ends the thread; calls under way are given up, and their completions kept.
    void stop();

private:
    struct implementation;
    std::unique_ptr<implementation> implementation_;
};

}  // namespace callforward::smtpclient
