#include "milter/control/status.h"

#include "milter/control/values.h"

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <chrono>
#include <cmath>

namespace callforward::milter::control {

namespace {

using std::chrono::duration_cast;
using std::chrono::seconds;

constexpr std::chrono::milliseconds patience_with_hosts{500};
constexpr std::chrono::minutes last_minute{1};
constexpr std::chrono::hours last_hour{1};

std::int64_t ago(run_state::clock::time_point then) {
    return duration_cast<seconds>(run_state::clock::now() - then).count();
}

double rounded(double part) {
    constexpr double places = 10000;
    return std::round(part * places) / places;
}

json span(const counted& c) {
    json j;
    j["total"] = c.total();
    j["classes"] = classes_of(c);
    j["hit_ratio"] = rounded(c.hit_ratio());
    j["answer_ms"] = to_json(c.answers);
    j["probe_ms"] = to_json(c.probes);
    return j;
}

json configuration(const watched& w) {
    const run_state::view v = w.run.now();
    const counters& counts = w.asking.seen().counts;
    json j;
    j["file"] = v.file.empty() ? json(nullptr) : json(v.file);
    j["age_s"] = ago(v.loaded);
    j["reloads"] = {{"good", counts.reloads(true)}, {"failed", counts.reloads(false)}};
    j["restart_needed"] = v.restart_needed;
    j["last_error"] = v.error.empty() ? json(nullptr) : json(v.error);
    j["last_error_ago_s"] = v.error.empty() ? json(nullptr) : json(ago(v.failed));
    return j;
}

json cache_state(const watched& w) {
    verdicts::cache& known = w.asking.known();
    const std::string complaint = store_complaint(w);
    json j;
    j["store"] = w.run.now().store;
    j["store_error"] = complaint.empty() ? json(nullptr) : json(complaint);
    j["stored"] = known.below().records();
    if (const fleet::edge* const shared = w.asking.shared()) {
        j["stored"] = nullptr;  // others' as well, and not counted
        j["unwritten"] = shared->unwritten().size();
    }
    j["memory"] = to_json(known.size());
    j["evictions"] = known.evictions();
    return j;
}

}  // namespace

json status_of(const watched& w) {
    const auto now = history::clock::now();
    json j;
    j["version"] = w.run.now().version;
    j["pid"] = getpid();
    j["uptime_s"] = ago(w.run.now().started);
    j["status"] = status_line(w);
    j["configuration"] = configuration(w);
    j["last_minute"] = span(w.past.within(last_minute, now));
    j["last_hour"] = span(w.past.within(last_hour, now));
    j["since_start"] = span(w.past.since_start());
    j["pending"] = w.asking.pending();
    j["cache"] = cache_state(w);
    const engine::host_list hosts = w.asking.hosts(patience_with_hosts);
    j["hosts"] = {{"known", hosts.hosts.size()}, {"complete", hosts.complete}};
    j["hosts_in_trouble"] = json::array();
    for (const auto& h : hosts.hosts) {
        if (h.condition == smtpclient::host_condition::penalty) {
            j["hosts_in_trouble"].push_back(to_json(h));
        }
    }
    j["interlocks"] = json::array();
    for (const auto& s : w.asking.suspensions()) j["interlocks"].push_back(to_json(s));
    return j;
}

std::string store_complaint(const watched& w) {
    if (const fleet::edge* const shared = w.asking.shared()) return shared->complaint();
    return w.asking.known().below().complaint();
}

std::string status_line(const watched& w) {
    const counted c = w.past.within(last_minute, history::clock::now());
    const auto percent = std::lround(c.hit_ratio() * 100);
    std::string line = std::to_string(c.total()) + " recipients in the last minute, " +
                       std::to_string(percent) + "% from the cache, " +
                       std::to_string(w.asking.pending()) + " pending";
    std::size_t closed = 0;
    for (const auto& s : w.asking.suspensions()) closed += s.closed ? 1 : 0;
    if (closed > 0) line += ", interlock closed for " + std::to_string(closed) + " domains";
    if (!w.run.now().error.empty()) line += "; the last reload failed";
    return line;
}

}  // namespace callforward::milter::control
