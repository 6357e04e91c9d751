// What one next hop is like at present, for who watches: plain values, copied on its event loop.
#pragma once

#include "smtpclient/next_hop.h"
#include "smtpclient/question.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace callforward::smtpclient {

enum class host_condition {
    idle,     // nothing to do, and nothing against it
    up,       // a session stands
    opening,  // none yet
    penalty,  // could not be reached; left alone, or tried by one
};
[[nodiscard]] std::string_view to_string(host_condition c);

struct host_state {
    std::string host;  // name, literal address or socket path
    std::uint16_t port = 0;
    smtpclient::protocol protocol = protocol::smtp;
    tls_level tls = tls_level::may;
    host_condition condition = host_condition::idle;
    std::size_t idle = 0;  // sessions with nothing to do
    std::size_t busy = 0;
    std::size_t opening = 0;
    std::size_t most_sessions = 0;         // how many may stand at present
    std::size_t in_flight = 0;             // recipients being asked about
    std::size_t waiting = 0;               // for a session
    std::chrono::milliseconds latency{0};  // smoothed, to an answer; 0: none yet
    std::string last_error;                // printable; "": none
    std::chrono::seconds last_error_ago{0};
    std::chrono::seconds penalty_left{0};
    std::vector<std::string> catch_all;  // domains found to accept any local part
    bool rejects_late = false;           // at DATA, what it accepts at RCPT
};

}  // namespace callforward::smtpclient
