#include "milter/control/run_state.h"

#include <utility>

namespace callforward::milter::control {

run_state::run_state(std::string program_version,
                     std::string file,
                     std::shared_ptr<const settings> s) {
    view_.version = std::move(program_version);
    view_.file = std::move(file);
    view_.store = s->cache.store;
    view_.current = std::move(s);
    view_.started = clock::now();
    view_.loaded = view_.started;
}

void run_state::reloaded(std::string file,
                         std::shared_ptr<const settings> s,
                         std::vector<std::string> restart_needed) {
    const std::lock_guard lock(mutex_);
    view_.file = std::move(file);
    view_.current = std::move(s);
    view_.restart_needed = std::move(restart_needed);
    view_.loaded = clock::now();
    view_.error.clear();
}

void run_state::reload_failed(std::string why) {
    const std::lock_guard lock(mutex_);
    view_.error = std::move(why);
    view_.failed = clock::now();
}

run_state::view run_state::now() const {
    const std::lock_guard lock(mutex_);
    return view_;
}

}  // namespace callforward::milter::control
