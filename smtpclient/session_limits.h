// How much is asked of one next hop at once ([limits]).
#pragma once

#include <chrono>
#include <cstddef>

namespace callforward::smtpclient {

struct session_limits {
    std::size_t connections_per_host = 20;           // 0: no limit
    std::size_t connections = 1000;                  // to all hosts together; 0: no limit
    std::chrono::milliseconds idle_session{10000};   // 0: a session with nothing to do is ended
    std::size_t recipients_per_session = 100;        // 0: no limit
    std::size_t recipients_refused_per_session = 8;  // 0: no limit
    std::chrono::milliseconds host_penalty{60000};   // 0: none
    std::chrono::seconds catch_all{24 * 3600};  // how long a finding of catch_all_probe is kept

    [[nodiscard]] bool reuses_sessions() const {
        return idle_session.count() > 0 && recipients_per_session != 1;
    }
    bool operator==(const session_limits&) const = default;
};

}  // namespace callforward::smtpclient
