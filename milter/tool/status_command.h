// `callforward status`, `hosts`, `top` and `reload`: how the daemon fares (callforward(1)).
#pragma once

#include "milter/tool/daemon_client.h"

#include <cstddef>
#include <string>

namespace callforward::tool {

// What the daemon's answers look like to a person; `colours` as in terminal.h. Pure.
[[nodiscard]] std::string status_text(const json& status, bool colours);
// width 0: nothing is cut.
[[nodiscard]] std::string hosts_text(const json& hosts, std::size_t width, bool colours);
// One screen of `top`: exactly as many lines as there are rows, none longer than `width`.
[[nodiscard]] std::string top_text(
    const json& status, const json& hosts, std::size_t width, std::size_t rows, bool colours);

[[nodiscard]] int run_status(const daemon_options& o);
[[nodiscard]] int run_hosts(const daemon_options& o);
[[nodiscard]] int run_reload(const daemon_options& o);

}  // namespace callforward::tool
