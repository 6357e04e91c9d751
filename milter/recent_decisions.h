// The last decisions, so that one can be found again by its id and the latest be shown.
//
// A ring of the refused and deferred (2048), and one of the accepted (512), which would push the
// others out: about 3 MiB, all of it there from the start. Of the accepted no more are kept in a
// second than their ring has: nobody looks up one that is gone in a moment. note() copies texts,
// cut to the room they have, and allocates nothing; it never waits: of two accepted at the same
// instant one may be left out. Thread: any.
#pragma once

#include "milter/decision.h"
#include "milter/log_line.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

namespace callforward::milter {

template <std::size_t Size>
class short_text {  // what fits of a text
public:
    void operator=(std::string_view text) {
        length_ = static_cast<std::uint16_t>(text.copy(bytes_.data(), Size));
    }
    [[nodiscard]] std::string_view view() const { return {bytes_.data(), length_}; }
    [[nodiscard]] bool is_full() const { return length_ == Size; }  // there may have been more

private:
    std::array<char, Size> bytes_{};
    std::uint16_t length_ = 0;
};

struct decision_note {  // rcpt_record, of a size that is known
    std::uint64_t id = 0;
    std::chrono::system_clock::time_point at;
    std::chrono::milliseconds elapsed{0};
    int code = 0;  // of the next hop; 0: none
    smtpclient::stage stage = smtpclient::stage::none;
    smtpclient::outcome outcome = smtpclient::outcome::undetermined;
    smtpclient::reason reason = smtpclient::reason::off;
    smtpclient::verdict_class verdict_class = smtpclient::verdict_class::skipped;
    milter::action action = action::accept;
    policy_mode mode = policy_mode::enforce;
    milter::source source = source::none;
    short_text<200> rcpt;
    short_text<100> from;
    short_text<48> client;
    short_text<100> route;
    short_text<100> host;
    short_text<48> address;
    short_text<24> tls;
    short_text<12> enhanced;
    short_text<240> text;
    int reply_code = 0;  // of the MTA's answer to its client, before the id; 0: its own
    short_text<12> reply_enhanced;
    short_text<400> reply_text;
};

class recent_decisions {
public:
    static constexpr std::size_t others_kept = 2048;
    static constexpr std::size_t accepted_kept = 512;

    recent_decisions();

    using time_point = std::chrono::system_clock::time_point;
    // told: what the client is told where the mode enforces it; the id comes behind it.
    void note(std::uint64_t id, const rcpt_record& r, time_point at, const decision& told = {});
    [[nodiscard]] std::optional<decision_note> find(std::uint64_t id) const;
    // The latest first, of both rings.
    [[nodiscard]] std::vector<decision_note> latest(std::size_t most) const;

private:
    struct ring {
        explicit ring(std::size_t size) : notes(size) {}

        mutable std::mutex mutex;
        std::vector<decision_note> notes;
        std::size_t next = 0;
        std::size_t used = 0;

        void put(std::uint64_t id, const rcpt_record& r, time_point at, const decision& told);
    };

    ring others_;
    ring accepted_;
    // Behind the mutex of accepted_: the second that is counted in, and what it has left.
    time_point second_;
    std::size_t left_ = 0;
};

// Back from make_trace_id(), with "cf-" before it or not; nothing for what is none.
[[nodiscard]] std::optional<std::uint64_t> parse_trace_id(std::string_view untrusted);

}  // namespace callforward::milter
