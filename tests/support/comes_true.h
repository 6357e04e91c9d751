// For what another thread or process does in its own time: looks again and again, for 20 seconds at
// most.
#pragma once

#include <chrono>
#include <thread>

namespace callforward::testing {

template <class Condition>
[[nodiscard]] bool comes_true(Condition condition) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > limit) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
}

}  // namespace callforward::testing
