// What one RCPT is checked against: for recipient_check's own files only.
#pragma once

#include "milter/recipient_check.h"
#include "milter/scope.h"

#include <memory>
#include <utility>

namespace callforward::milter {

struct recipient_check::snapshot {
    explicit snapshot(std::shared_ptr<const settings> from) : all(std::move(from)), who(*all) {}

    std::shared_ptr<const settings> all;
    scope who;
};

}  // namespace callforward::milter
