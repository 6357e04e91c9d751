// `callforward query`: one call-forward from the command line, for people and scripts
// (callforward(1)).
#pragma once

#include "smtpclient/query.h"

#include <string>

namespace callforward::tool {

// One JSON object in one line, with the fields of INTERFACE section 1; what is not known is null.
[[nodiscard]] std::string to_json(const smtpclient::query_options& asked,
                                  const smtpclient::query_result& result);
// A sentence or two for a person.
[[nodiscard]] std::string to_text(const smtpclient::query_options& asked,
                                  const smtpclient::query_result& result);
// 0 deliverable, 1 undeliverable, 75 undetermined.
[[nodiscard]] int exit_code(const smtpclient::verdict& v);

}  // namespace callforward::tool
