// `callforward report`: what mode monitor would have refused (callforward(1)).
#pragma once

#include "milter/tool/daemon_client.h"

#include <cstdint>
#include <optional>
#include <string>

namespace callforward::tool {

// "24h", "7d", as in the configuration; nothing for what is none, or is negative.
[[nodiscard]] std::optional<std::int64_t> seconds_of(const std::string& span);
[[nodiscard]] std::string report_text(const json& report, bool colours);
[[nodiscard]] int run_report(const daemon_options& o,
                             const std::string& since,
                             const std::string& domain);

}  // namespace callforward::tool
