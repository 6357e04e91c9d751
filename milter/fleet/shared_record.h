// What the shared store keeps of one question, and how its replies are read. Pure.
//
// A value is a mark of what was last forgotten of the address, one of the domain (8 bytes each),
// and a record of verdicts/record.h. It counts while both marks are still those that the store has,
// or the store has none; its age is told by the life that the store says is left. Replies are
// untrusted: what is no value of ours under this key and seed is no finding.
#pragma once

#include "milter/fleet/resp.h"
#include "milter/verdicts/key.h"
#include "milter/verdicts/record.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::milter::fleet {

using std::chrono::milliseconds;

// The keys of one question, under the seed of the moment.
struct question_names {
    verdicts::hash_seed seed;
    verdicts::question_key key;
    std::string record;
    std::string with_sender;
    std::string declared;
    std::string forgotten;
    std::string domain_forgotten;
    std::string lease;
};

enum class kept_as : std::uint8_t { record, with_sender, declared };

struct shared_record {
    kept_as as;
    verdicts::record record;  // its times count for their difference only
    milliseconds age;
};

struct findings {
    std::vector<shared_record> records;
    std::string marks;  // what has been forgotten so far; belongs to what is found out from now on
    std::chrono::steady_clock::time_point asked;  // what is changed from then on may not be in it
};

inline constexpr std::size_t mark_size = 8;
inline constexpr std::string_view no_mark{"\0\0\0\0\0\0\0\0", mark_size};
// Times in a shared record: from here on to `learnt` is how long it is kept in all, and from there
// to `expires` is its life. So the life that is left, by the store's clock, tells its age.
inline constexpr verdicts::wall_time origin{};

// A marker as the store has it; no_mark when it is none of ours.
[[nodiscard]] std::string mark_of(const resp_value& stored);

// Of PTTL record, with_sender, and declared; MGET these and forgotten; GET domain_forgotten.
inline constexpr std::size_t look_replies = 5;
inline constexpr std::size_t look_values = 3;  // which of them is that of MGET
[[nodiscard]] findings findings_of(const question_names& names, const replies& untrusted);

}  // namespace callforward::milter::fleet
