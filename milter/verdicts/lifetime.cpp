// How long what is known stays so: lifetime() of memory.h, and what has a life without a reply.
#include "milter/verdicts/memory.h"

#include <algorithm>

namespace callforward::milter::verdicts {

using smtpclient::reason;
using smtpclient::verdict_class;

namespace {

std::chrono::seconds doubled(std::chrono::seconds life, unsigned times, std::chrono::seconds most) {
    while (times > 0 && life < most) {
        life *= 2;
        --times;
    }
    return life;
}

}  // namespace

std::chrono::seconds lifetime(const smtpclient::verdict& v,
                              const cache_settings& s,
                              unsigned repeats) {
    switch (v.finding.verdict_class) {
        case verdict_class::deliverable:
            if (v.finding.reason != reason::catch_all) return s.deliverable;
            // Not beyond what it was taken from.
            return std::min(s.catch_all, v.found_before.value_or(s.catch_all));
        case verdict_class::undeliverable:
            // A full mailbox is about now.
            if (v.finding.reason == reason::mailbox_full) return s.undetermined;
            return std::min(doubled(s.undeliverable, repeats, s.undeliverable_max),
                            std::max(s.undeliverable, s.undeliverable_max));
        case verdict_class::unreachable:
            // Says something about us and this moment only.
            if (v.finding.reason == reason::overloaded) return std::chrono::seconds{0};
            return s.undetermined;
        case verdict_class::deferred:
        case verdict_class::refused:
        case verdict_class::insecure:
            return s.undetermined;
        case verdict_class::sender_refused:
        case verdict_class::skipped:
            return std::chrono::seconds{0};
    }
    return std::chrono::seconds{0};
}

bool denies(const smtpclient::verdict& v) {
    return v.outcome() == smtpclient::outcome::undeliverable &&
           v.finding.reason != reason::mailbox_full;
}

bool outdates_deliverable(const smtpclient::verdict& v,
                          const digest& recipient_only,
                          const std::optional<kept_entry>& kept) {
    return v.outcome() == smtpclient::outcome::undeliverable &&
           (!kept || kept->key != recipient_only);
}

smtpclient::verdict declared_verdict() {
    smtpclient::verdict v;
    v.finding = {verdict_class::deliverable, reason::accepted};
    v.detail = "declared to exist";
    return v;
}

std::size_t& entry_counts::of(smtpclient::outcome o) {
    switch (o) {
        case smtpclient::outcome::deliverable:
            return deliverable;
        case smtpclient::outcome::undeliverable:
            return undeliverable;
        case smtpclient::outcome::undetermined:
            break;
    }
    return undetermined;
}

}  // namespace callforward::milter::verdicts
