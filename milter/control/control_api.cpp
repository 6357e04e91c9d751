#include "milter/control/control_api.h"

#include "dns/domain.h"
#include "milter/control/requests.h"
#include "milter/control/responses.h"
#include "milter/control/values.h"
#include "milter/log.h"
#include "smtpclient/printable.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace callforward::milter::control {

namespace {

using smtpclient::mailbox;
using smtpclient::printable_utf8;

constexpr std::chrono::milliseconds patience_with_hosts{2000};
constexpr std::chrono::milliseconds patience_with_store{3000};
constexpr std::chrono::milliseconds patience_with_disk{1000};
constexpr std::size_t most_shown = 1000;
constexpr std::size_t page_size = 5000;

void log_change(const http_request& r, std::string_view what, std::string_view about) {
    log::say(log_level::info,
             "control",
             {{"action", what},
              {"about", about},
              {"uid", r.from.user ? log_value(*r.from.user) : log_value("")},
              {"pid", r.from.process}});
}

}  // namespace

struct control_api::endpoint {
    std::string_view method;
    std::string_view path;
    http_response (control_api::*answer)(const http_request&);
};

control_api::control_api(const watched& w, recipient_check& checking, reloader reload)
    : watched_(w), checking_(checking), reload_(std::move(reload)) {}

http_response control_api::answer(const http_request& r) {
    static constexpr std::array endpoints{
        endpoint{"GET", "/v1/status", &control_api::status},
        endpoint{"GET", "/v1/hosts", &control_api::hosts},
        endpoint{"GET", "/v1/cache", &control_api::cache},
        endpoint{"GET", "/v1/export", &control_api::exported},
        endpoint{"GET", "/v1/decisions", &control_api::decisions},
        endpoint{"GET", "/v1/report", &control_api::report},
        endpoint{"POST", "/v1/explain", &control_api::explain},
        endpoint{"POST", "/v1/forget", &control_api::forget},
        endpoint{"POST", "/v1/known", &control_api::known},
        endpoint{"POST", "/v1/flush", &control_api::flush},
        endpoint{"POST", "/v1/reload", &control_api::reload},
    };
    const auto found = std::find_if(
        endpoints.begin(), endpoints.end(), [&](const endpoint& e) { return e.path == r.path; });
    if (found == endpoints.end()) {
        return wrong(not_found, "no such path; callforward-control(8) has them all");
    }
    if (found->method != r.method) {
        return wrong(method_not_allowed, "use " + std::string(found->method));
    }
    return (this->*found->answer)(r);
}

http_response control_api::status(const http_request&) {
    return good(status_of(watched_));
}

http_response control_api::hosts(const http_request&) {
    const engine::host_list list = watched_.asking.hosts(patience_with_hosts);
    json j{{"complete", list.complete}, {"hosts", json::array()}};
    for (const auto& h : list.hosts) j["hosts"].push_back(to_json(h));
    return good(j);
}

http_response control_api::cache(const http_request& r) {
    verdicts::cache& all = watched_.asking.known();
    const auto now = verdicts::moment::now();
    const auto address = mailbox::parse(parameter(r, "address"));
    const auto domain = dns::domain::parse(parameter(r, "domain"));
    if (!address && !domain) {
        return wrong(bad_request, "say address=USER@DOMAIN or domain=DOMAIN");
    }
    json j;
    if (address) {
        j["address"] = printable_utf8(address->address());
        j["memory"] = json::array();
        for (const auto& k : all.show(*address)) j["memory"].push_back(to_json(k, now.steady));
    } else {
        j["domain"] = domain->name();
        j["memory"] = to_json(all.count_domain(domain->name()));
    }
    // Null: not looked in. A shared store is found by question only, not by name.
    j["store"] = watched_.asking.shared() == nullptr ? json(json::array()) : json(nullptr);
    bool more = false;
    std::string from;
    do {
        const auto page = all.below().list(from, page_size);
        if (!page && !from.empty()) more = true;
        if (!page) break;
        for (const auto& record : page->records) {
            const bool asked_for = address ? record.recipient == address->key()
                                           : record.recipient.ends_with('@' + domain->name());
            if (asked_for && j["store"].size() >= most_shown) more = true;
            if (asked_for && !more) j["store"].push_back(to_json(record, now.wall));
        }
        from = page->next;
    } while (!from.empty() && !more);
    j["more"] = more;
    return good(j);
}

http_response control_api::exported(const http_request& r) {
    const auto from = from_hex(parameter(r, "from"));
    if (!from) return wrong(bad_request, "\"from\" is what the page before had as \"next\"");
    verdicts::cache& known = watched_.asking.known();
    verdicts::store& below = known.below();
    const auto page = below.list(*from, page_size);
    if (!page) {
        std::string complaint = below.complaint();
        if (complaint.empty() && !verdicts::directory_of(known.settings()).empty()) {
            complaint = "the cache on disk cannot be read to its end";
        }
        if (watched_.asking.shared() != nullptr) {
            complaint =
                "this [cache] store cannot be listed: it is shared, and its keys are digests";
        } else if (complaint.empty()) {
            complaint =
                "this [cache] store cannot be listed: memory keeps no addresses, only their "
                "digests";
        }
        return wrong(conflict, complaint);
    }
    const auto now = verdicts::moment::now();
    json j{{"total", below.records()}, {"next", to_hex(page->next)}, {"records", json::array()}};
    for (const auto& record : page->records) j["records"].push_back(to_json(record, now.wall));
    return good(j);
}

// What is changed by a request comes after this; without a shared store it is of no use.
std::uint64_t control_api::newest_change() const {
    const fleet::edge* const edge = watched_.asking.shared();
    return edge == nullptr ? 0 : edge->unwritten().newest();
}

// Whoever sends the next change after this answer leaves the store time for this one.
http_response control_api::changed(std::uint64_t after, json about) const {
    const fleet::edge* const edge = watched_.asking.shared();
    if (edge == nullptr) {
        verdicts::cache& all = watched_.asking.known();
        const bool fails = !all.flush(patience_with_disk) && !all.below().complaint().empty();
        if (fails) about["written"] = false;
        return good(about);
    }
    const auto standing = edge->unwritten().wait(after, patience_with_store);
    about["shared"] = standing.written;
    if (standing.merged) {
        about["merged"] = *standing.merged == 0 ? json(nullptr) : json(*standing.merged);
    }
    return good(about);
}

http_response control_api::forget(const http_request& r) {
    std::string problem;
    const auto asked = read_forgetting(r.body, problem);
    if (!asked) return wrong(bad_request, problem);
    verdicts::cache& all = watched_.asking.known();
    const std::uint64_t before = newest_change();
    const std::size_t count =
        asked->recipient ? all.forget(*asked->recipient) : all.forget_domain(asked->domain);
    log_change(r, "forget", asked->text);
    return changed(before, {{"forgotten", count}});
}

http_response control_api::known(const http_request& r) {
    std::string problem;
    const auto list = read_address_list(r.body, problem);
    if (!list) return wrong(bad_request, problem);
    json bad = json::array();
    for (const auto& b : list->bad) bad.push_back({{"index", b.index}, {"address", b.text}});
    const std::uint64_t before = newest_change();
    watched_.asking.known().declare(list->addresses, verdicts::moment::now());
    log_change(r, "known", std::to_string(list->addresses.size()) + " addresses");
    return changed(before, {{"known", list->addresses.size()}, {"bad", bad}});
}

http_response control_api::flush(const http_request& r) {
    verdicts::cache& all = watched_.asking.known();
    const json stored =
        watched_.asking.shared() == nullptr ? json(all.below().records()) : json(nullptr);
    const std::uint64_t before = newest_change();
    const std::size_t in_memory = all.forget_all();
    log_change(r, "flush", std::to_string(in_memory) + " entries");
    return changed(before, {{"forgotten", in_memory}, {"stored", stored}});
}

http_response control_api::reload(const http_request& r) {
    log_change(r, "reload", "");
    if (const auto why = reload_()) return wrong(unprocessable, *why);
    return good({{"reloaded", true}, {"restart_needed", watched_.run.now().restart_needed}});
}

}  // namespace callforward::milter::control
