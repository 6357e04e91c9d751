// `callforward top`: status and next hops, live, once a second (callforward(1)).
#pragma once

#include "milter/tool/daemon_client.h"

namespace callforward::tool {

// Until q or Ctrl-C; once, without moving the cursor, where standard output is no terminal.
[[nodiscard]] int run_top(const daemon_options& o);

}  // namespace callforward::tool
