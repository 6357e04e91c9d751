// Nobody is rejected while a next hop does not know its own people: a directory outage there must
// not bounce a whole company (INTERFACE section 2, [interlock]).
//
// Every new verdict passes here, with what was known before. A domain is closed when flip_limit
// addresses that were deliverable have been refused by a reply to RCPT within flip_window, or when
// one of its canaries (addresses known to exist) is refused. While it is closed, its undeliverable
// recipients are put off instead of rejected; each refusal of a flipped address then counts anew,
// so that an outage which outlasts the window keeps the domain closed, but not for more than 24
// windows: then it is no outage. It opens when the flips within the window are below the limit and
// no canary is refused any more. A flip is in doubt within its window; refused again after it, with
// the domain open all the while, the address is gone, and counts no more. Memory: at most
// 2 * flip_limit flips, and as many that outlived their window, in each of at most 10,000 domains.
// The clock is an argument. Thread: any; is_closed() takes no lock while none is.
#pragma once

#include "milter/settings.h"
#include "smtpclient/mailbox.h"
#include "smtpclient/verdict.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace callforward::milter {

// What one domain came to, for the log and for who watches.
struct interlock_state {
    std::string domain;
    bool closed = false;
    std::size_t flips = 0;             // formerly deliverable and refused, within the window
    std::size_t canaries_refused = 0;  // at present
    std::chrono::milliseconds closed_for{0};
};

// The directory speaks in replies to RCPT; that a domain is gone from DNS is another matter, and so
// is a mailbox that is full: it is there.
[[nodiscard]] bool is_refusal(const smtpclient::verdict& v);

enum class standing {  // of a verdict that was learnt
    certain,
    flipped,  // in doubt: it was deliverable, and this is not over
    closed,   // in doubt, as all refusals of its domain are
};

class interlock {
public:
    using time_point = std::chrono::steady_clock::time_point;
    // Called when a domain closes or opens, under the lock: must be quick, and not call back.
    using announcement = std::function<void(const interlock_state&)>;

    interlock(const interlock_settings& s, announcement announce);
    void use(const interlock_settings& s, time_point now);

    // former: what was known of the recipient before, however old.
    [[nodiscard]] standing learn(const smtpclient::mailbox& recipient,
                                 std::optional<smtpclient::outcome> former,
                                 const smtpclient::verdict& v,
                                 time_point now);
    // How long what is in doubt may answer, of `most`: not so long that the flips of an outage
    // which goes on would not be seen again within their window. A canary always speaks for itself:
    // 0.
    [[nodiscard]] std::chrono::milliseconds doubted_for(const smtpclient::mailbox& recipient,
                                                        std::chrono::milliseconds most) const;
    // Another edge has seen it flip; it counts here, too.
    void learn_elsewhere(const smtpclient::mailbox& recipient, time_point now);
    // Another edge was told that it exists, who knows when: it is not gone.
    void accepted_elsewhere(const smtpclient::mailbox& recipient);
    [[nodiscard]] bool is_closed(std::string_view domain, time_point now);
    // Opens what nobody asks about.
    void settle(time_point now);
    // The domains that are closed or on the way to it.
    [[nodiscard]] std::vector<interlock_state> states(time_point now) const;

private:
    struct flip {
        time_point first;
        time_point last;      // refused
        bool unsure = false;  // what for: its domain was closed meanwhile, or another edge saw it
    };
    struct domain_state {
        std::unordered_map<std::uint64_t, flip> flips;  // by a keyed hash of the address
        // Those whose window is over, with the domain open: since when.
        std::unordered_map<std::uint64_t, time_point> outlived;
        std::set<std::string> canaries;  // refused ones
        bool closed = false;
        time_point since;
    };
    using domain_states = std::map<std::string, domain_state, std::less<>>;

    void count_flip(domain_state& d, std::uint64_t address, bool was_deliverable, time_point now);
    void age(domain_state& d, time_point now) const;
    [[nodiscard]] bool make_room(time_point now);
    void settle(domain_states::iterator at, time_point now);
    [[nodiscard]] static interlock_state state_of(const std::string& domain,
                                                  const domain_state& d,
                                                  time_point now);

    announcement announce_;
    std::atomic<std::size_t> closed_ = 0;
    mutable std::mutex mutex_;
    interlock_settings settings_;
    std::set<std::string, std::less<>> canaries_;  // in lower case
    domain_states domains_;
};

}  // namespace callforward::milter
