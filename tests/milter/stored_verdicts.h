// Records for tests of the store: what was written for a number can be told from its key.
#pragma once

#include "milter/verdicts/record.h"

#include <chrono>
#include <cstdint>
#include <string>

namespace callforward::tests {

inline milter::verdicts::digest key_of_number(std::uint64_t n) {
    return milter::verdicts::siphash_2_4_128(std::to_string(n), {11, 12});
}

inline milter::verdicts::wall_time wall_now() {
    return std::chrono::time_point_cast<std::chrono::milliseconds>(
        std::chrono::system_clock::now());
}

inline milter::verdicts::record record_of_number(std::uint64_t n,
                                                 milter::verdicts::wall_time learnt = wall_now()) {
    milter::verdicts::record r;
    r.recipient = "user" + std::to_string(n) + "@a" + std::to_string(n % 10) + ".test";
    r.tags = {n, static_cast<std::uint32_t>(n % 10)};
    const bool good = n % 3 != 0;
    r.verdict.finding = good ? smtpclient::finding{smtpclient::verdict_class::deliverable,
                                                   smtpclient::reason::accepted}
                             : smtpclient::finding{smtpclient::verdict_class::undeliverable,
                                                   smtpclient::reason::unknown_user};
    r.verdict.stage = smtpclient::stage::rcpt;
    r.verdict.reply = good ? smtpclient::reply{250, {"2.1.5"}}
                           : smtpclient::reply{550, {"5.1.1 no user " + std::to_string(n)}};
    r.verdict.host = "mx" + std::to_string(n % 10) + ".test";
    r.learnt = learnt;
    r.expires = learnt + std::chrono::hours(1);
    return r;
}

inline bool is_record_of(std::uint64_t n, const milter::verdicts::record& r) {
    const auto expected = record_of_number(n);
    return r.recipient == expected.recipient && r.verdict.finding == expected.verdict.finding &&
           r.verdict.reply == expected.verdict.reply && r.verdict.host == expected.verdict.host;
}

}  // namespace callforward::tests
