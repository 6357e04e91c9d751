// The control socket's requests about decisions: those that were made, and why one would be.
#include "dns/domain.h"
#include "milter/control/control_api.h"
#include "milter/control/requests.h"
#include "milter/control/responses.h"
#include "milter/control/values.h"
#include "milter/explain_request.h"
#include "smtpclient/mailbox.h"
#include "smtpclient/printable.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <utility>

namespace callforward::milter::control {

namespace {

constexpr std::size_t most_decisions = 1000;
constexpr std::chrono::seconds longest_story{70};

json lines_of(const std::string& text) {
    json lines = json::array();
    for (std::size_t begin = 0; begin < text.size();) {
        const auto end = std::min(text.find('\n', begin), text.size());
        lines.push_back(text.substr(begin, end - begin));
        begin = end + 1;
    }
    return lines;
}

struct known_route {
    std::string mta_route;
    std::string decision_id;
};

// Where the MTA delivered the recipient's domain last, if that can be said.
std::optional<known_route> last_route_to(const std::string& rcpt, const recent_decisions& recent) {
    const auto recipient = smtpclient::mailbox::parse(rcpt);
    if (!recipient || !recipient->domain()) return std::nullopt;
    const auto all = recent.latest(recent_decisions::others_kept + recent_decisions::accepted_kept);
    for (const auto& d : all) {
        const std::string_view route = d.route.view();
        const std::string_view to = d.rcpt.view();
        const auto at = to.rfind('@');
        if (route.empty() || at == std::string_view::npos) continue;
        if (dns::domain::parse(to.substr(at + 1)) != recipient->domain()) continue;
        if (d.route.is_full()) return std::nullopt;
        auto said = mta_route_of(route, recipient->domain_part());
        if (!said) return std::nullopt;
        return known_route{std::move(*said), "cf-" + make_trace_id(d.id)};
    }
    return std::nullopt;
}

}  // namespace

http_response control_api::decisions(const http_request& r) {
    constexpr std::size_t usual = 100;
    json j{{"decisions", json::array()}};
    const std::size_t most = std::min(number_or(parameter(r, "limit"), usual), most_decisions);
    for (const auto& d : watched_.asking.seen().recent.latest(most)) {
        j["decisions"].push_back(to_json(d, true));
    }
    return good(j);
}

http_response control_api::report(const http_request& r) {
    constexpr std::size_t day = 86400;
    constexpr std::size_t most = 31 * day;
    const auto span = std::chrono::seconds(std::min(number_or(parameter(r, "since"), day), most));
    const auto domain = r.parameters.find("domain");
    const std::string name =
        domain == r.parameters.end() ? "" : smtpclient::to_lower(domain->second);
    json j{{"since_s", span.count()}, {"rows", json::array()}};
    const auto now = std::chrono::system_clock::now();
    for (const auto& sum : watched_.asking.seen().monitored.since(now - span, name, now)) {
        j["rows"].push_back(to_json(sum));
    }
    return good(j);
}

http_response control_api::explain(const http_request& r) {
    std::string problem;
    const auto wanted = read_explanation_wanted(r.body, problem);
    if (!wanted) return wrong(bad_request, problem);
    if (!wanted->id.empty()) return explain_id(wanted->id);
    explain_request about = wanted->about;
    std::optional<known_route> last;
    if (about.mta_route.empty()) last = last_route_to(about.rcpt, watched_.asking.seen().recent);
    if (last) about.mta_route = last->mta_route;
    const auto e = envelope_of(about, problem);
    if (!e) return wrong(bad_request, problem);
    story told = checking_.explain(*e, about.dry, longest_story);
    tell_whence_route(about, last ? last->decision_id : "", told);
    return good(to_json(told));
}

http_response control_api::explain_id(const std::string& id) {
    const auto number = parse_trace_id(id);
    if (!number)
        return wrong(bad_request, "an id looks like cf-a2b3c4d: " + smtpclient::printable(id, 100));
    observations& seen = watched_.asking.seen();
    const auto decided = seen.recent.find(*number);
    auto said = seen.dialogues.of_id(*number);
    if (!decided && !said) {
        return wrong(not_found,
                     "no decision of this id is remembered here: the last " +
                         std::to_string(recent_decisions::others_kept) +
                         " refused or put off are, and the last " +
                         std::to_string(recent_decisions::accepted_kept) +
                         " accepted; the log has the rest");
    }
    json j{{"decision", decided ? to_json(*decided, true) : json(nullptr)}};
    const bool is_own = said.has_value();
    if (!said) {
        const auto recipient = smtpclient::mailbox::parse(decided->rcpt.view());
        if (recipient) said = seen.dialogues.about(recipient->key());
    }
    if (!said) {
        j["dialogue"] = nullptr;
        return good(j);
    }
    const auto at = std::chrono::duration_cast<std::chrono::seconds>(said->at.time_since_epoch());
    j["dialogue"] = {{"id", "cf-" + make_trace_id(said->id)},
                     {"own", is_own},  // else the latest about the same recipient
                     {"at_s", at.count()},
                     {"lines", lines_of(said->text)}};
    return good(j);
}

}  // namespace callforward::milter::control
