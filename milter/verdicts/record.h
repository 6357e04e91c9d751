// A verdict as bytes: what a store keeps.
//
// Format 2, little-endian: version, kind, repeats, 0, tags (8 + 4), learnt and expires (wall clock,
// milliseconds since 1970), a checksum keyed with the store's seed over the key and all other
// bytes, then strings with two bytes of length before each. Classes, reasons and stages are kept by
// name, so that a release with others reads what it knows and drops the rest. decode() takes any
// bytes: lengths, names, counts and times are checked, and that what makes a recipient
// undeliverable is a reply to RCPT (or no domain). A record of another key, another seed or a
// changed byte is nothing. Pure.
#pragma once

#include "milter/verdicts/digest.h"
#include "milter/verdicts/key.h"
#include "smtpclient/verdict.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace callforward::milter::verdicts {

using wall_time = std::chrono::time_point<std::chrono::system_clock, std::chrono::milliseconds>;

struct record {
    std::string recipient;  // mailbox::key()
    recipient_tags tags;
    smtpclient::verdict verdict;  // trimmed
    wall_time learnt;
    wall_time expires;
    std::uint8_t repeats = 0;  // refusals one after another before this one
};

constexpr std::uint8_t record_version = 2;

// What is kept of a verdict: of a deliverable no text and no names, because no client sees them; of
// others, text and names up to a limit that a reply to a client never reaches.
[[nodiscard]] smtpclient::verdict trimmed(const smtpclient::verdict& v);

[[nodiscard]] std::string encode(const record& r, const digest& key, const hash_seed& seed);
[[nodiscard]] std::optional<record> decode(std::string_view untrusted,
                                           const digest& key,
                                           const hash_seed& seed);

// The verdict alone, as a key that equal verdicts share.
[[nodiscard]] std::string encode(const smtpclient::verdict& v);

// The beginning of a record, without its checksum: for sweeping.
struct record_head {
    bool deliverable = false;
    recipient_tags tags;
    wall_time learnt;
    wall_time expires;
};
[[nodiscard]] std::optional<record_head> head_of(std::string_view untrusted);

}  // namespace callforward::milter::verdicts
