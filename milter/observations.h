// All that the daemon remembers about its own work, for who watches it.
#pragma once

#include "milter/counters.h"
#include "milter/monitor_report.h"
#include "milter/recent_decisions.h"
#include "milter/transcripts.h"

namespace callforward::milter {

struct observations {  // each safe to use from any thread
    counters counts;
    recent_decisions recent;
    transcripts dialogues;
    monitor_report monitored;
};

}  // namespace callforward::milter
