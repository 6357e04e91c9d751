#include "milter/control/public_pages.h"

#include "milter/control/metrics.h"
#include "milter/control/status_page.h"
#include "milter/control/values.h"
#include "smtpclient/printable.h"

#include <nlohmann/json.hpp>

namespace callforward::milter::control {

namespace {

constexpr std::chrono::milliseconds patience_with_hosts{1000};
// Less than what asks gives an answer: Prometheus and most load balancers wait for seconds.
constexpr std::chrono::milliseconds patience_with_loops{1000};
constexpr std::size_t most_hosts = 200;
constexpr std::size_t most_decisions = 50;
constexpr int not_found = 404;
constexpr int unavailable = 503;

http_response plain(int status, const std::string& text) {
    return {.status = status, .body = text + '\n', .type = "text/plain; charset=utf-8"};
}

// status_of() without what is nobody's business.
json status_for_all(const watched& w) {
    json s = status_of(w);
    json& c = s["configuration"];
    s["configuration_age_s"] = c["age_s"];
    s["reload_failed"] = !c["last_error"].is_null();
    s.erase("configuration");
    s.erase("pid");
    return s;
}

json minutes_of(const history& past) {
    json all = json::array();
    for (const auto& m : past.minutes(history::minutes_kept, history::clock::now())) {
        const counted& c = m.counts;
        all.push_back({{"ago_s", m.ago.count()},
                       {"length_s", m.length.count()},
                       {"classes", classes_of(c)},
                       {"asked", c.total() - c.of_source(source::none)},
                       {"hit_ratio", c.hit_ratio()},
                       {"answer_ms", to_json(c.answers)}});
    }
    return all;
}

}  // namespace

http_response public_pages::answer(const http_request& r) const {
    if (r.path == "/healthz") {
        if (watched_.asking.is_alive(patience_with_loops)) return plain(200, "ok");
        return plain(unavailable, "an event loop does not answer");
    }
    if (r.path == "/metrics") {
        return {.status = 200,
                .body = metrics_text(watched_),
                .type = "text/plain; version=0.0.4; charset=utf-8"};
    }
    if (r.path == "/status.json") return {.status = 200, .body = data()};
    if (r.path == "/") {
        return {
            .status = 200, .body = std::string(status_page()), .type = "text/html; charset=utf-8"};
    }
    return plain(not_found, "there are /, /status.json, /metrics and /healthz");
}

std::string public_pages::data() const {
    json j;
    j["status"] = status_for_all(watched_);
    j["minutes"] = minutes_of(watched_.past);
    j["hosts"] = json::array();
    for (const auto& h : watched_.asking.hosts(patience_with_hosts).hosts) {
        if (j["hosts"].size() < most_hosts) j["hosts"].push_back(to_json(h));
    }
    j["decisions"] = json::array();
    for (const auto& d : watched_.asking.seen().recent.latest(most_decisions)) {
        j["decisions"].push_back(to_json(d, shows_));
    }
    return text_of(j);
}

}  // namespace callforward::milter::control
