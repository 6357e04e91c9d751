// Where the daemon is watched and spoken to: the control socket, the metrics and the status page,
// and a thread that takes samples, tells systemd how things are, and keeps the monitor report in
// the store's directory, once a minute.
//
// Made once the daemon answers RCPTs; what it watches must outlive it. A socket that cannot be had
// is not its business: who starts the daemon goes on without one.
#pragma once

#include "milter/control/control_api.h"
#include "milter/control/history.h"
#include "milter/control/http_server.h"
#include "milter/control/listener.h"
#include "milter/control/public_pages.h"
#include "milter/control/run_state.h"
#include "milter/engine.h"

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace callforward::milter::control {

class desk {
public:
    struct furniture {
        engine& asking;
        recipient_check& checking;
        run_state& run;
        control_api::reloader reload;
        std::function<void(const std::string& line)> tell;  // systemd, when the line has changed
    };
    struct doors {
        std::optional<listener> control;
        std::optional<listener> metrics;
        bool show_addresses = false;  // on the latter
    };
    desk(furniture with, doors open);
    ~desk();
    desk(const desk&) = delete;
    desk& operator=(const desk&) = delete;

    // The daemon ends: nobody shall find a socket where nobody answers.
    void remove_socket() const;
    // What monitor mode has seen, to disk; before the process ends, too. Thread: any.
    void save_report();

private:
    void watch();

    furniture with_;
    history past_;
    control_api api_;
    public_pages pages_;
    std::string report_;       // file; "": none
    std::mutex report_mutex_;  // one writes the file at a time: each minute, and at the end
    bool report_failed_ = false;
    std::unique_ptr<http_server> control_;
    std::unique_ptr<http_server> metrics_;
    std::mutex mutex_;
    std::condition_variable wake_;
    bool ends_ = false;
    std::thread watch_;  // last: it uses all of the above
};

}  // namespace callforward::milter::control
