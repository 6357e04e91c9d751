#include "milter/recent_decisions.h"

#include <algorithm>

namespace callforward::milter {

recent_decisions::recent_decisions() : others_(others_kept), accepted_(accepted_kept) {}

void recent_decisions::ring::put(std::uint64_t id,
                                 const rcpt_record& r,
                                 time_point at,
                                 const decision& told) {
    decision_note& n = notes[next];
    next = (next + 1) % notes.size();
    used = std::min(used + 1, notes.size());
    n.id = id & trace_id_bits;
    n.at = at;
    n.elapsed = r.elapsed.value_or(std::chrono::milliseconds{0});
    n.code = r.code.value_or(0);
    n.stage = r.stage;
    n.outcome = r.outcome;
    n.reason = r.reason;
    n.verdict_class = r.verdict_class;
    n.action = r.action;
    n.mode = r.mode;
    n.source = r.source;
    n.rcpt = r.rcpt;
    n.from = r.from;
    n.client = r.client;
    n.route = r.route;
    n.host = r.host;
    n.address = r.address;
    n.tls = r.tls;
    n.enhanced = r.enhanced;
    n.text = r.text;
    const bool is_told = r.mode == policy_mode::enforce;
    n.reply_code = is_told ? told.code : 0;
    n.reply_enhanced = is_told ? std::string_view(told.enhanced) : std::string_view();
    n.reply_text = is_told ? std::string_view(told.text) : std::string_view();
}

void recent_decisions::note(std::uint64_t id,
                            const rcpt_record& r,
                            time_point at,
                            const decision& told) {
    if (r.action != action::accept) {
        const std::lock_guard lock(others_.mutex);
        others_.put(id, r, at, told);
        return;
    }
    const std::unique_lock lock(accepted_.mutex, std::try_to_lock);
    if (!lock.owns_lock()) return;
    // The clock may have been set back.
    if (at < second_ || at >= second_ + std::chrono::seconds(1)) {
        second_ = at;
        left_ = accepted_kept;
    }
    if (left_ == 0) return;
    --left_;
    accepted_.put(id, r, at, told);
}

std::optional<decision_note> recent_decisions::find(std::uint64_t id) const {
    for (const ring* const each : {&others_, &accepted_}) {
        const std::lock_guard lock(each->mutex);
        for (std::size_t i = 0; i < each->used; ++i) {
            if (each->notes[i].id == id) return each->notes[i];
        }
    }
    return std::nullopt;
}

std::vector<decision_note> recent_decisions::latest(std::size_t most) const {
    std::vector<decision_note> all;
    for (const ring* const each : {&others_, &accepted_}) {
        const std::lock_guard lock(each->mutex);
        const std::size_t size = each->notes.size();
        for (std::size_t back = 1; back <= std::min(most, each->used); ++back) {
            all.push_back(each->notes[(each->next + size - back) % size]);
        }
    }
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.at > b.at; });
    if (all.size() > most) all.resize(most);
    return all;
}

std::optional<std::uint64_t> parse_trace_id(std::string_view untrusted) {
    constexpr std::string_view alphabet = "abcdefghijklmnopqrstuvwxyz234567";
    constexpr std::size_t length = 7;
    constexpr unsigned bits = 5;
    if (untrusted.starts_with("cf-")) untrusted.remove_prefix(3);
    if (untrusted.size() != length) return std::nullopt;
    std::uint64_t number = 0;
    for (const char c : untrusted) {
        const auto digit = alphabet.find(c);
        if (digit == std::string_view::npos) return std::nullopt;
        number = (number << bits) | digit;
    }
    return number;
}

}  // namespace callforward::milter
