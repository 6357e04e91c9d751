// How the daemon fares, in one value: `callforward status`, the status page, systemd's line.
#pragma once

#include "milter/control/history.h"
#include "milter/control/run_state.h"
#include "milter/engine.h"

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace callforward::milter::control {

struct watched {  // all must outlive who watches
    engine& asking;
    const history& past;
    const run_state& run;
};

// Fields: callforward-milter(8), CONTROL SOCKET.
[[nodiscard]] nlohmann::ordered_json status_of(const watched& w);
// What the cache's store complains of; "": nothing.
[[nodiscard]] std::string store_complaint(const watched& w);
// For sd_notify's STATUS=.
[[nodiscard]] std::string status_line(const watched& w);

}  // namespace callforward::milter::control
