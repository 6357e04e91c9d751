#include "milter/inquiry.h"

#include "milter/log.h"

#include <atomic>
#include <cstdint>
#include <random>
#include <utility>

namespace callforward::milter {

namespace {

using smtpclient::reason;
using smtpclient::verdict;
using smtpclient::verdict_class;

constexpr std::size_t most_spare = 64;

// For trace ids, from any thread: SplitMix64 on a counter that begins anywhere. libmilter's threads
// come and go, so a generator of each thread's own would be seeded over and over.
std::uint64_t random_number() {
    constexpr std::uint64_t step = 0x9e3779b97f4a7c15U;
    static std::atomic<std::uint64_t> counter{(std::uint64_t{std::random_device{}()} << 32U) |
                                              std::random_device{}()};
    std::uint64_t z = counter.fetch_add(step, std::memory_order_relaxed) + step;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
}

std::string why_away(const inquiry& i) {
    if (!i.away) return "no answer in time, or none a short while ago";
    return i.away->detail.empty() ? std::string(to_string(i.away->finding.reason)) : i.away->detail;
}

// Puts before what the verdict says why the answer is not simply that.
void explain_answer(inquiry& i) {
    if (i.suspended) i.text += "suspended by the interlock; ";
    if (i.by_script) i.text += "decided by the policy script; ";
    if (i.source == source::stale) {
        i.text += "next hop away: " + why_away(i) + "; answered from memory";
        if (!i.said.text().empty()) i.text += "; ";
    }
    i.text += i.said.text();
}

}  // namespace

void inquiry::conclude(verdict_class c, reason r, std::string_view why) {
    auto v = std::make_shared<verdict>();
    v->finding = {c, r};
    v->detail = why;
    known = std::move(v);
}

void inquiry::begin(std::uint64_t settings_number, const policy& otherwise) {
    begun = std::chrono::steady_clock::now();
    if (of_settings_ != settings_number) told.last = {};
    of_settings_ = settings_number;
    asked.id = random_number() & trace_id_bits;
    id = make_trace_id(asked.id);
    by = &otherwise;
    source = source::none;
    asked.in_its_own_way = false;
    is_mailbox = is_bare = sent_away = in_doubt = suspended = by_script = tells = false;
    for (auto* each : {&rcpt, &route, &text, &line, &rule, &script_error}) each->clear();
}

void inquiry::words::use(const std::shared_ptr<const verdict>& v) {
    if (of_ == v) return;
    of_.reset();  // without memory nothing half written is believed
    tls_.clear();
    if (v->tls) {
        tls_ = v->tls->version;
        if (v->tls->verified) tls_.append(1, '/').append(v->tls->by);
    }
    enhanced_.clear();
    text_ = v->detail;
    if (v->reply) {
        if (const auto given = v->reply->enhanced()) smtpclient::append_text(enhanced_, *given);
        if (text_.empty()) text_ = v->reply->text();
    }
    of_ = v;
}

// While it waits for the next RCPT it keeps nothing that others share, but for the verdict that its
// words are of.
void inquiry::end() {
    known.reset();
    away.reset();
    asked.by.reset();
    changed.reset();
}

void log_rcpt(const envelope& e, const decision& d, inquiry& i, observations& seen) {
    const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - i.begun;
    rcpt_record r;
    r.id = i.id;
    r.rcpt = i.rcpt;
    r.from = e.from();
    r.client = e.client_address;
    if (const auto* const recipient = i.recipient()) r.domain = recipient->domain_key();
    r.route = i.route;
    r.action = d.action;
    r.mode = i.by->mode;
    r.source = i.source;
    r.elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(took);
    r.reason = reason::timed_out;
    r.verdict_class = verdict_class::unreachable;
    r.text = "answer still pending";
    if (i.known) {
        const verdict& v = *i.known;
        r.host = v.host;
        r.address = v.address;
        i.said.use(i.known);
        r.tls = i.said.tls();
        r.stage = v.stage;
        r.outcome = v.outcome();
        r.reason = v.finding.reason;
        r.verdict_class = v.finding.verdict_class;
        if (v.reply) r.code = v.reply->code;
        r.enhanced = i.said.enhanced();
        r.text = i.said.text();
        if (i.suspended || i.by_script || i.source == source::stale) {
            explain_answer(i);
            r.text = i.text;
        }
    }
    const bool monitored = r.mode == policy_mode::monitor;
    seen.counts.count({r.outcome, r.reason, r.verdict_class, d.action, i.source, took, monitored});
    const auto now = std::chrono::system_clock::now();
    seen.recent.note(i.asked.id, r, now, d);
    if (monitored && d.action != action::accept) {
        seen.monitored.note(r.domain, r.reason, d.action, r.rcpt, now);
    }
    if (log::format() == log_format::json) {
        i.line = json_line(r);
    } else {
        append_logfmt_line(i.line, r);
    }
    log::line(i.line, now);
}

inquiry_memory::inquiry_memory() {
    spare_.reserve(most_spare);
}

inquiry_memory::borrowed inquiry_memory::begin(std::uint64_t settings_number,
                                               const policy& otherwise) {
    std::unique_ptr<inquiry> used;
    {
        const std::lock_guard lock(mutex_);
        if (!spare_.empty()) {
            used = std::move(spare_.back());
            spare_.pop_back();
        }
    }
    if (!used) used = std::make_unique<inquiry>();
    used->begin(settings_number, otherwise);
    return {used.release(), giver_back(*this)};
}

void inquiry_memory::take_back(inquiry* done) noexcept {
    std::unique_ptr<inquiry> used(done);
    used->end();
    const std::lock_guard lock(mutex_);
    // It has room for so many from the start.
    if (spare_.size() < most_spare) spare_.push_back(std::move(used));
}

}  // namespace callforward::milter
