// What the daemon knows about its own run: since when, with which configuration, and how the last
// reload went. Thread: any.
#pragma once

#include "milter/settings.h"

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace callforward::milter::control {

class run_state {
public:
    using clock = std::chrono::steady_clock;  // how long ago, whoever sets the time of day

    run_state(std::string program_version, std::string file, std::shared_ptr<const settings> s);

    // restart_needed: the keys that differ from those at the start, and are not taken.
    void reloaded(std::string file,
                  std::shared_ptr<const settings> s,
                  std::vector<std::string> restart_needed = {});
    void reload_failed(std::string why);

    struct view {
        std::string version;
        std::string file;  // that was read; "": none, the built-in defaults are in force
        std::shared_ptr<const settings> current;
        std::vector<std::string> restart_needed;
        std::string store;  // of the start: a reload does not change it
        clock::time_point started;
        clock::time_point loaded;
        std::string error;  // of the last reload, when it failed
        clock::time_point failed;
    };
    [[nodiscard]] view now() const;

private:
    mutable std::mutex mutex_;
    view view_;
};

}  // namespace callforward::milter::control
