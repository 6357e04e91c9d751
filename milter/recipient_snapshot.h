// What one RCPT is checked against: for recipient_check's own files only.
#pragma once

#include "milter/recipient_check.h"
#include "milter/scope.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace callforward::milter {

struct recipient_check::snapshot {
    explicit snapshot(std::shared_ptr<const settings> from)
        : number(++last_number), all(std::move(from)), who(*all) {}

    const std::uint64_t number;  // no other has it, not even when this one has gone
    std::shared_ptr<const settings> all;
    scope who;

private:
    static inline std::atomic<std::uint64_t> last_number{0};
};

}  // namespace callforward::milter
