#include "milter/control/desk.h"

#include "milter/log.h"

#include <exception>
#include <utility>

namespace callforward::milter::control {

namespace {

constexpr std::chrono::seconds between_samples{1};
constexpr int samples_a_line = 5;
constexpr int samples_a_report = 60;
constexpr std::size_t largest_body = std::size_t{8} * 1024 * 1024;  // 50,000 addresses

// Beside the LMDB store; a report is not kept where verdicts are not.
std::string report_file(const cache_settings& s) {
    const std::string directory = verdicts::directory_of(s);
    return directory.empty() ? "" : directory + "/monitor-report";
}

}  // namespace

desk::desk(furniture with, doors open)
    : with_(std::move(with)),
      past_(with_.asking.seen().counts, history::clock::now()),
      api_({with_.asking, past_, with_.run}, with_.checking, with_.reload),
      pages_({with_.asking, past_, with_.run}, open.show_addresses),
      report_(report_file(with_.run.now().current->cache)) {
    if (!report_.empty()) {
        with_.asking.seen().monitored.load(report_, std::chrono::system_clock::now());
    }
    if (open.control) {
        http_limits limits;
        limits.body = largest_body;
        control_ = std::make_unique<http_server>(
            std::move(*open.control), limits, [this](const http_request& r) {
                return api_.answer(r);
            });
    }
    if (open.metrics) {
        metrics_ = std::make_unique<http_server>(
            std::move(*open.metrics), http_limits{}, [this](const http_request& r) {
                return pages_.answer(r);
            });
    }
    watch_ = std::thread([this] { watch(); });
}

desk::~desk() {
    {
        const std::lock_guard lock(mutex_);
        ends_ = true;
    }
    wake_.notify_all();
    watch_.join();
}

void desk::remove_socket() const {
    if (control_) control_->remove_path();
}

void desk::save_report() {
    const std::lock_guard lock(report_mutex_);
    monitor_report& monitored = with_.asking.seen().monitored;
    if (report_.empty() || !monitored.is_changed()) return;
    const std::string wrong = monitored.save(report_);
    if (!wrong.empty() && !report_failed_) {
        log::say(log_level::warning, "the monitor report is not kept", {{"why", wrong}});
    }
    report_failed_ = !wrong.empty();
}

void desk::watch() {
    std::string last;
    int samples = 0;
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, between_samples, [this] { return ends_; })) {
        try {
            past_.sample(history::clock::now());
            if (samples % samples_a_report == 0) save_report();
            if (++samples % samples_a_line != 0 || !with_.tell) continue;
            std::string line = status_line({with_.asking, past_, with_.run});
            if (line == last) continue;
            with_.tell(line);
            last = std::move(line);
        } catch (const std::exception&) {  // no memory now; there is a next time
        }
    }
}

}  // namespace callforward::milter::control
