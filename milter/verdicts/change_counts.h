// How often what is known of a domain was changed by an operator, or all that is known: so that
// what was looked up or asked before such a change is not taken for known after it.
//
// Counted by a hash of the domain, so that who changes one all the time spoils only answers about
// its own and a few others. A number that has not changed between two looks means that no change
// began in between. Thread: any; takes no lock.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

namespace callforward::milter::verdicts {

using change_count = std::uint64_t;

class change_counts {
public:
    [[nodiscard]] change_count of(std::string_view domain) const {
        return of_all_ + by_domain_[place(domain)];
    }
    void add(std::string_view domain) { ++by_domain_[place(domain)]; }
    void add_to_all() { ++of_all_; }

private:
    static constexpr std::size_t places = 256;
    static std::size_t place(std::string_view domain) {
        return std::hash<std::string_view>{}(domain) % places;
    }

    std::atomic<change_count> of_all_ = 0;
    std::array<std::atomic<change_count>, places> by_domain_{};
};

}  // namespace callforward::milter::verdicts
