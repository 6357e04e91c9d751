// How many TLS handshakes this process has made with next hops, and how they ended: for metrics.
//
// Process-wide, because sessions belong to many event loops. Thread: any.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace callforward::smtpclient {

class handshake_counts {
public:
    [[nodiscard]] static handshake_counts& of_process();

    // version: as OpenSSL names it; "" for a handshake that failed.
    void count(std::string_view version, bool good);
    // visit(version, good, number), for what has been counted at all.
    template <class Visit>
    void for_each(Visit visit) const {
        for (std::size_t v = 0; v < names.size(); ++v) {
            for (std::size_t good = 0; good < 2; ++good) {
                const std::uint64_t n = counts_[v][good].load(std::memory_order_relaxed);
                if (n > 0) visit(names[v], good == 1, n);
            }
        }
    }

private:
    static constexpr std::array<std::string_view, 5> names{
        "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", "none"};

    std::array<std::array<std::atomic<std::uint64_t>, 2>, names.size()> counts_{};
};

}  // namespace callforward::smtpclient
