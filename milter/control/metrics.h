// The numbers of INTERFACE.md section 6 in Prometheus' text format.
//
// Made anew for each scrape from counters that are there anyway: nothing is counted twice, and
// nothing is kept between scrapes. Series are bounded: labels are enums, but for the names of next
// hops (at most 1000) and the domains in the interlock (at most 1000); no mail address is a label.
// Thread: any.
#pragma once

#include "milter/control/status.h"

#include <string>

namespace callforward::milter::control {

[[nodiscard]] std::string metrics_text(const watched& w);

}  // namespace callforward::milter::control
