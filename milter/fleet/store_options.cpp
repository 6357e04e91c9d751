#include "milter/fleet/store_options.h"

#include <algorithm>

namespace callforward::milter::fleet {

std::string_view to_string(trouble t) {
    switch (t) {
        case trouble::none:
            return "usable";
        case trouble::full:
            return "full";
        case trouble::read_only:
            return "read_only";
        case trouble::slow:
            return "slow";
        case trouble::unreachable:
            return "unreachable";
        case trouble::refused:
            return "refused";
        case trouble::foreign:
            return "foreign";
    }
    return "?";
}

void store_health::report(std::size_t connection, trouble t, const std::string& why) {
    const std::lock_guard lock(mutex_);
    views_.at(connection) = {t, why, true};
    view worst;
    for (const view& v : views_) {
        if (!v.told) return;
        if (v.what > worst.what) worst = v;
    }
    const bool first = state_.changes == 0;
    if (!first && worst.what == state_.what) return;
    state_ = {worst.what, worst.why, std::chrono::steady_clock::now(), state_.changes + 1};
    if (worst.what == trouble::none) {
        say_(log_level::info, "the shared store is used", {});
    } else {
        const bool reads = worst.what == trouble::full || worst.what == trouble::read_only;
        say_(log_level::warning,
             reads ? "the shared store takes nothing new; what it knows is used"
                   : "the shared store is not used; verdicts go on without it",
             {{"state", to_string(worst.what)}, {"why", worst.why}});
    }
}

store_health::state store_health::now() const {
    const std::lock_guard lock(mutex_);
    return state_;
}

}  // namespace callforward::milter::fleet
