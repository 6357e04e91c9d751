// Values of the daemon as JSON, for the control socket: one place for names of fields. All text of
// others is made printable. Pure.
#pragma once

#include "milter/counters.h"
#include "milter/interlock.h"
#include "milter/monitor_report.h"
#include "milter/recent_decisions.h"
#include "milter/story.h"
#include "milter/verdicts/memory.h"
#include "milter/verdicts/record.h"
#include "smtpclient/host_state.h"
#include "smtpclient/verdict.h"

#include <nlohmann/json_fwd.hpp>

#include <array>
#include <chrono>
#include <string>

namespace callforward::milter::control {

using json = nlohmann::ordered_json;

[[nodiscard]] json to_json(const smtpclient::verdict& v);
[[nodiscard]] json to_json(const smtpclient::host_state& h);
[[nodiscard]] json to_json(const interlock_state& s);
[[nodiscard]] json to_json(const verdicts::entry_counts& c);
[[nodiscard]] json to_json(const verdicts::known& k, std::chrono::steady_clock::time_point now);
[[nodiscard]] json to_json(const verdicts::record& r, verdicts::wall_time now);
// Without addresses: of the recipient only the domain, no sender, client and text.
[[nodiscard]] json to_json(const decision_note& d, bool with_addresses);
[[nodiscard]] json to_json(const monitor_report::sum& s);
[[nodiscard]] json to_json(const story& s);
// {"p50", "p99", "count"}, in milliseconds; null where nothing was counted.
[[nodiscard]] json to_json(const duration_counts& d);
// How many of each class.
[[nodiscard]] json classes_of(const counted& c);
// UTF-8 in one line, whatever the values hold.
[[nodiscard]] std::string text_of(const json& j);

// The classes in their order, for who goes through them.
[[nodiscard]] const std::array<smtpclient::verdict_class, class_count>& all_classes();

}  // namespace callforward::milter::control
