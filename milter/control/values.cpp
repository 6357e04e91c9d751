#include "milter/control/values.h"

#include "milter/config.h"
#include "smtpclient/printable.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace callforward::milter::control {

namespace {

using smtpclient::printable_utf8;
using smtpclient::verdict_class;
using std::chrono::duration_cast;
using std::chrono::seconds;

json or_null(const std::string& text) {
    return text.empty() ? json(nullptr) : json(printable_utf8(text));
}

// How old, how long it still answers, and what it is good for.
void add_life(json& j, seconds age, seconds left) {
    j["age_s"] = age.count();
    j["expires_in_s"] = left.count();
    j["state"] = left.count() > 0 ? "fresh" : "expired";
}

// The very reply that the client of the MTA got.
std::string told_by(const decision_note& d) {
    decision told{d.action,
                  d.reply_code,
                  std::string(d.reply_enhanced.view()),
                  std::string(d.reply_text.view())};
    add_trace_id(told, make_trace_id(d.id));
    return std::to_string(told.code) + ' ' + told.enhanced + ' ' + told.text;
}

double milliseconds(double in_seconds) {
    constexpr double thousand = 1000;
    return std::round(in_seconds * thousand * thousand) / thousand;
}

}  // namespace

const std::array<verdict_class, class_count>& all_classes() {
    static constexpr std::array<verdict_class, class_count> all{verdict_class::deliverable,
                                                                verdict_class::undeliverable,
                                                                verdict_class::sender_refused,
                                                                verdict_class::deferred,
                                                                verdict_class::refused,
                                                                verdict_class::unreachable,
                                                                verdict_class::insecure,
                                                                verdict_class::skipped};
    return all;
}

json to_json(const smtpclient::verdict& v) {
    json j;
    j["outcome"] = to_string(v.outcome());
    j["class"] = to_string(v.finding.verdict_class);
    j["reason"] = to_string(v.finding.reason);
    const bool has_stage = v.stage != smtpclient::stage::none;
    j["stage"] = has_stage ? json(to_string(v.stage)) : json(nullptr);
    j["code"] = v.reply ? json(v.reply->code) : json(nullptr);
    const auto enhanced = v.reply ? v.reply->enhanced() : std::nullopt;
    j["enhanced"] = enhanced ? json(to_string(*enhanced)) : json(nullptr);
    j["text"] = v.reply ? or_null(v.reply->text()) : json(nullptr);
    j["detail"] = or_null(v.detail);
    j["host"] = or_null(v.host);
    j["address"] = or_null(v.address);
    j["port"] = v.port != 0 ? json(v.port) : json(nullptr);
    return j;
}

json to_json(const smtpclient::host_state& h) {
    json j;
    j["host"] = printable_utf8(h.host);
    j["port"] = h.port != 0 ? json(h.port) : json(nullptr);
    switch (h.protocol) {
        case smtpclient::protocol::smtp:
            j["protocol"] = "smtp";
            break;
        case smtpclient::protocol::smtps:
            j["protocol"] = "smtps";
            break;
        case smtpclient::protocol::lmtp:
            j["protocol"] = "lmtp";
            break;
    }
    j["tls"] = to_string(h.tls);
    j["state"] = to_string(h.condition);
    j["sessions"] = {{"idle", h.idle}, {"busy", h.busy}, {"opening", h.opening}};
    j["most_sessions"] = h.most_sessions;
    j["in_flight"] = h.in_flight;
    j["waiting"] = h.waiting;
    j["latency_ms"] = h.latency.count() > 0 ? json(h.latency.count()) : json(nullptr);
    j["last_error"] = or_null(h.last_error);
    j["last_error_ago_s"] = h.last_error.empty() ? json(nullptr) : json(h.last_error_ago.count());
    j["penalty_s"] = h.penalty_left.count();
    j["catch_all"] = json::array();
    for (const auto& domain : h.catch_all) j["catch_all"].push_back(printable_utf8(domain));
    j["rejects_late"] = h.rejects_late;
    return j;
}

json to_json(const interlock_state& s) {
    return {{"domain", printable_utf8(s.domain)},
            {"closed", s.closed},
            {"flips", s.flips},
            {"canaries_refused", s.canaries_refused},
            {"closed_for_s", duration_cast<seconds>(s.closed_for).count()}};
}

json to_json(const verdicts::entry_counts& c) {
    return {{"deliverable", c.deliverable},
            {"undeliverable", c.undeliverable},
            {"undetermined", c.undetermined}};
}

json to_json(const verdicts::known& k, std::chrono::steady_clock::time_point now) {
    json j = to_json(*k.verdict());
    add_life(j, duration_cast<seconds>(now - k.learnt), duration_cast<seconds>(k.expires - now));
    return j;
}

json to_json(const verdicts::record& r, verdicts::wall_time now) {
    json j{{"recipient", printable_utf8(r.recipient)}};
    j.update(to_json(r.verdict));
    add_life(j, duration_cast<seconds>(now - r.learnt), duration_cast<seconds>(r.expires - now));
    return j;
}

json to_json(const decision_note& d, bool with_addresses) {
    const auto text = [&](std::string_view t) { return or_null(std::string(t)); };
    const std::string_view rcpt = d.rcpt.view();
    const auto at = rcpt.rfind('@');
    json j;
    j["id"] = "cf-" + make_trace_id(d.id);
    j["at_s"] = duration_cast<seconds>(d.at.time_since_epoch()).count();
    if (with_addresses) {
        j["rcpt"] = text(rcpt);
        j["from"] = text(d.from.view());
        j["client"] = text(d.client.view());
    } else {
        const auto domain = at == std::string_view::npos ? std::string_view() : rcpt.substr(at + 1);
        j["rcpt"] = text(domain);
    }
    j["outcome"] = to_string(d.outcome);
    j["class"] = to_string(d.verdict_class);
    j["reason"] = to_string(d.reason);
    j["action"] = to_string(d.action);
    j["mode"] = to_string(d.mode);
    j["source"] = to_string(d.source);
    j["elapsed_ms"] = d.elapsed.count();
    j["stage"] = d.stage == smtpclient::stage::none ? json(nullptr) : json(to_string(d.stage));
    j["route"] = text(d.route.view());
    j["host"] = text(d.host.view());
    j["address"] = text(d.address.view());
    j["tls"] = text(d.tls.view());
    j["code"] = d.code == 0 ? json(nullptr) : json(d.code);
    j["enhanced"] = text(d.enhanced.view());
    if (with_addresses) {
        j["text"] = text(d.text.view());
        j["reply"] = d.reply_code == 0 ? json(nullptr) : json(printable_utf8(told_by(d)));
    }
    return j;
}

json to_json(const monitor_report::sum& s) {
    json j{{"domain", s.domain},
           {"reason", to_string(s.reason)},
           {"action", to_string(s.action)},
           {"count", s.count},
           {"examples", json::array()}};
    for (const auto& example : s.examples) j["examples"].push_back(printable_utf8(example));
    return j;
}

namespace {

json policy_of(const story& s) {
    json p;
    const bool written = s.by.origin && !s.by.origin->table.empty();
    p["table"] = written ? json(s.by.origin->table) : json("the built-in defaults");
    p["keys"] = json::object();
    for (const auto& [key, value] : policy_values(s.by)) {
        const bool known = s.by.origin && s.by.origin->keys.contains(key);
        const std::string from = known ? s.by.origin->keys.at(key) : "default";
        p["keys"][key] = {{"value", printable_utf8(value)}, {"from", printable_utf8(from)}};
    }
    return p;
}

json decision_of(const story& s) {
    json d{{"action", to_string(s.would.action)},
           {"enforced", s.is_enforced},
           {"source", to_string(s.answer_from)}};
    const bool says = s.would.action != action::accept;
    d["reply"] =
        says ? json(std::to_string(s.would.code) + ' ' + s.would.enhanced + ' ' + s.would.text)
             : json(nullptr);
    return d;
}

}  // namespace

json to_json(const story& s) {
    json j;
    j["rcpt"] = printable_utf8(s.rcpt);
    j["from"] = or_null(s.from);
    j["client"] = or_null(s.client);
    j["scope"] = or_null(s.scope_rule);
    j["policy"] = policy_of(s);
    j["route"] = or_null(s.route);
    j["route_assumed"] = s.route_is_assumed;
    j["route_from"] = or_null(s.route_from);
    j["asked"] = s.is_asked;
    j["dry"] = s.dry;
    j["dialogue"] = json::array();
    for (std::size_t begin = 0; begin < s.dialogue.size();) {
        const auto end = std::min(s.dialogue.find('\n', begin), s.dialogue.size());
        j["dialogue"].push_back(printable_utf8(s.dialogue.substr(begin, end - begin)));
        begin = end + 1;
    }
    j["known_before"] = json::array();
    const auto now = std::chrono::steady_clock::now();
    for (const auto& k : s.known_before) j["known_before"].push_back(to_json(k, now));
    j["verdict"] = s.verdict ? to_json(*s.verdict) : json(nullptr);
    if (s.verdict && s.verdict->tls) {
        const auto& tls = *s.verdict->tls;
        j["verdict"]["tls"] = {{"version", tls.version},
                               {"cipher", tls.cipher},
                               {"verified", tls.verified},
                               {"by", or_null(tls.by)}};
    }
    j["rule"] = or_null(s.reply_rule);
    j["would_keep_s"] = s.would_keep ? json(s.would_keep->count()) : json(nullptr);
    j["script_error"] = or_null(s.script_error);
    j["interlock"] = s.suspended;
    j["decision"] = s.dry && !s.verdict ? json(nullptr) : decision_of(s);
    j["elapsed_ms"] = s.elapsed.count();
    return j;
}

json to_json(const duration_counts& d) {
    constexpr double half = 0.5;
    constexpr double nearly_all = 0.99;
    const std::uint64_t count = d.total();
    const auto at = [&](double part) {
        return count == 0 ? json(nullptr) : json(milliseconds(d.quantile(part)));
    };
    return {{"p50", at(half)}, {"p99", at(nearly_all)}, {"count", count}};
}

json classes_of(const counted& c) {
    json j;
    for (const verdict_class each : all_classes())
        j[std::string(to_string(each))] = c.of_class(each);
    return j;
}

std::string text_of(const json& j) {
    return j.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace callforward::milter::control
