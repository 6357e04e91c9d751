// How kindly a next hop is treated: INTERFACE section 2, [limits], as far as sessions go.
//
// Plain values, made from the configuration and read by the pool of sessions. Counts of 0 mean no
// limit; an idle_session of 0 keeps no session, a host_penalty of 0 leaves no address alone.
#pragma once

#include <chrono>
#include <cstddef>

namespace callforward::smtpclient {

struct session_limits {
    std::size_t connections_per_host = 20;
    std::chrono::milliseconds idle_session{10000};
    std::size_t recipients_per_session = 100;
    std::size_t recipients_refused_per_session = 8;
    std::chrono::milliseconds host_penalty{60000};

    bool operator==(const session_limits&) const = default;
};

}  // namespace callforward::smtpclient
