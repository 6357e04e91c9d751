#include "milter/control/metrics.h"

#include "dns/query_counts.h"
#include "smtpclient/handshake_counts.h"
#include "smtpclient/printable.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <limits>
#include <map>
#include <sstream>
#include <utility>
#include <vector>

namespace callforward::milter::control {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using labels = std::vector<std::pair<std::string, std::string>>;

constexpr std::chrono::milliseconds patience_with_hosts{1000};
constexpr std::size_t most_series = 1000;  // of names that others choose

class families {
public:
    MetricFamily& add(const std::string& name, MetricType type, const std::string& help) {
        all_.push_back({"callforward_" + name, help, type, {}});
        return all_.back();
    }
    [[nodiscard]] std::string text() const {
        std::ostringstream out;
        prometheus::TextSerializer().Serialize(out, all_);
        return out.str();
    }

private:
    std::vector<MetricFamily> all_;
};

void add(MetricFamily& to, const labels& by, double value) {
    ClientMetric metric;
    for (const auto& [name, text] : by) metric.label.push_back({name, text});
    if (to.type == MetricType::Counter) metric.counter.value = value;
    if (to.type == MetricType::Gauge) metric.gauge.value = value;
    to.metric.push_back(std::move(metric));
}

void add(MetricFamily& to, const labels& by, std::uint64_t value) {
    add(to, by, static_cast<double>(value));
}

void add_histogram(families& all,
                   const std::string& name,
                   const std::string& help,
                   const duration_counts& d) {
    ClientMetric metric;
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < d.buckets.size(); ++i) {
        sum += d.buckets[i];
        const double bound = i < duration_bounds.size() ? duration_bounds[i]
                                                        : std::numeric_limits<double>::infinity();
        metric.histogram.bucket.push_back({sum, bound});
    }
    metric.histogram.sample_count = sum;
    metric.histogram.sample_sum = d.sum;
    all.add(name, MetricType::Histogram, help).metric.push_back(std::move(metric));
}

std::string text(std::string_view name) {
    return std::string(name);
}

void add_counts(families& all, const counters& counts) {
    auto& verdicts =
        all.add("verdicts_total", MetricType::Counter, "Recipients, by what was found.");
    counts.for_each_verdict([&](auto outcome, auto reason, auto action, auto from, auto n) {
        add(verdicts,
            {{"outcome", text(to_string(outcome))},
             {"reason", text(to_string(reason))},
             {"action", text(to_string(action))},
             {"source", text(to_string(from))}},
            n);
    });
    auto& monitored =
        all.add("monitored_total",
                MetricType::Counter,
                "Of verdicts_total, those in mode monitor: accepted, whatever action.");
    for (const auto would : {action::accept, action::tempfail, action::reject}) {
        add(monitored, {{"action", text(to_string(would))}}, counts.monitored(would));
    }
    auto& probes = all.add("probes_total",
                           MetricType::Counter,
                           "Call-forwards, by the stage that decided them and the outcome.");
    counts.for_each_probe([&](auto stage, auto outcome, auto n) {
        add(probes, {{"stage", text(to_string(stage))}, {"result", text(to_string(outcome))}}, n);
    });
    const counted now = counts.now();
    add_histogram(all, "probe_seconds", "How long call-forwards took.", now.probes);
    add_histogram(all, "answer_seconds", "How long the MTA waited for an answer.", now.answers);
    auto& reloads = all.add(
        "config_reloads_total", MetricType::Counter, "How often the configuration was read again.");
    add(reloads, {{"result", "success"}}, counts.reloads(true));
    add(reloads, {{"result", "failure"}}, counts.reloads(false));
}

void add_hosts(families& all, engine& asking) {
    const engine::host_list list = asking.hosts(patience_with_hosts);
    std::size_t idle = 0;
    std::size_t busy = 0;
    std::size_t opening = 0;
    std::map<std::string, bool> up;
    for (const auto& h : list.hosts) {
        idle += h.idle;
        busy += h.busy;
        opening += h.opening;
        std::string name = smtpclient::printable(h.host);
        if (name.find(':') != std::string::npos) name = '[' + name + ']';
        if (h.port != 0) name += ':' + std::to_string(h.port);
        const bool answers = h.condition != smtpclient::host_condition::penalty;
        const auto known = up.find(name);
        if (known != up.end()) {
            known->second = known->second || answers;
        } else if (up.size() < most_series) {
            up.emplace(std::move(name), answers);
        }
    }
    auto& connections =
        all.add("connections", MetricType::Gauge, "Sessions with next hops, by what they do.");
    add(connections, {{"state", "idle"}}, idle);
    add(connections, {{"state", "busy"}}, busy);
    add(connections, {{"state", "opening"}}, opening);
    auto& hosts =
        all.add("host_up", MetricType::Gauge, "0 while a next hop is left alone, unreachable.");
    for (const auto& [name, is_up] : up) add(hosts, {{"host", name}}, is_up ? 1.0 : 0.0);
}

void add_cache(families& all, engine& asking) {
    const verdicts::entry_counts entries = asking.known().size();
    auto& counts = all.add("cache_entries", MetricType::Gauge, "Recipients known in memory.");
    add(counts, {{"class", "deliverable"}}, entries.deliverable);
    add(counts, {{"class", "undeliverable"}}, entries.undeliverable);
    add(counts, {{"class", "undetermined"}}, entries.undetermined);
    auto& gone = all.add(
        "cache_evictions_total", MetricType::Counter, "Entries that left memory for want of room.");
    add(gone, {}, asking.known().evictions());
}

void add_store(families& all, const watched& w) {
    const std::string name = w.run.now().store;
    const bool on_disk = name.starts_with("lmdb:");
    if (!on_disk && w.asking.shared() == nullptr) return;
    auto& up = all.add("store_up",
                       MetricType::Gauge,
                       "0 while the cache's store is not used, or not as it should be.");
    const double value = store_complaint(w).empty() ? 1.0 : 0.0;
    add(up, {{"store", on_disk ? "lmdb" : "redis"}}, value);
}

void add_network(families& all) {
    auto& dns =
        all.add("dns_queries_total", MetricType::Counter, "Questions asked of DNS servers.");
    dns::query_counts::of_process().for_each([&](const std::string& type, auto status, auto n) {
        add(dns, {{"type", type}, {"status", text(to_string(status))}}, n);
    });
    auto& tls = all.add("tls_handshakes_total", MetricType::Counter, "TLS with next hops.");
    smtpclient::handshake_counts::of_process().for_each([&](auto version, bool good, auto n) {
        add(tls, {{"version", text(version)}, {"result", good ? "success" : "failure"}}, n);
    });
}

}  // namespace

std::string metrics_text(const watched& w) {
    families all;
    add_counts(all, w.asking.seen().counts);
    add(all.add("pending", MetricType::Gauge, "Call-forwards under way."), {}, w.asking.pending());
    add_hosts(all, w.asking);
    add_cache(all, w.asking);
    add_store(all, w);
    add_network(all);
    auto& locks = all.add(
        "interlock", MetricType::Gauge, "1 while a domain's undeliverable recipients are put off.");
    std::size_t series = 0;
    for (const auto& s : w.asking.suspensions()) {
        if (++series > most_series) break;
        add(locks, {{"domain", smtpclient::printable(s.domain)}}, s.closed ? 1.0 : 0.0);
    }
    return all.text();
}

}  // namespace callforward::milter::control
