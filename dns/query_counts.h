// How many DNS questions this process has asked, and how they ended: for metrics.
//
// Counted where a question leaves the machine, not where a cached answer is found. Process-wide,
// because resolvers come and go with reloads. Thread: any.
#pragma once

#include "dns/answer.h"
#include "dns/message.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace callforward::dns {

class query_counts {
public:
    [[nodiscard]] static query_counts& of_process();

    void count(record_type type, status s);
    // visit(type name, status, number), for what has been counted at all.
    template <class Visit>
    void for_each(Visit visit) const {
        for (std::size_t type = 0; type < types; ++type) {
            for (std::size_t s = 0; s < statuses; ++s) {
                const std::uint64_t n = counts_[type][s].load(std::memory_order_relaxed);
                if (n > 0) visit(name_of(type), static_cast<status>(s), n);
            }
        }
    }

private:
    static constexpr std::size_t types = 5;
    static constexpr std::size_t statuses = 4;
    [[nodiscard]] static std::string name_of(std::size_t type);

    std::array<std::array<std::atomic<std::uint64_t>, statuses>, types> counts_{};
};

}  // namespace callforward::dns
