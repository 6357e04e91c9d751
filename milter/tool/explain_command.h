// `callforward explain`: the whole story of a decision, by the daemon where it runs, else from its
// configuration file (callforward(1)).
#pragma once

#include "milter/explain_request.h"
#include "milter/tool/daemon_client.h"

#include <string>

namespace callforward::tool {

struct explain_options {
    milter::explain_request asked;
    std::string id;  // of a decision that was made, instead
};

// The daemon's answers as a person reads them; `colours` as in terminal.h. Pure.
[[nodiscard]] std::string story_text(const json& story, bool colours);
[[nodiscard]] std::string decision_text(const json& found, bool colours);

[[nodiscard]] int run_explain(const daemon_options& o, const explain_options& e);

}  // namespace callforward::tool
