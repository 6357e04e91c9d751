#include "dns/query_counts.h"

namespace callforward::dns {

namespace {

// RFC 1035, 3596, 6698; numbers, because a record_type need not have a name for each.
std::size_t index_of(record_type type) {
    switch (static_cast<unsigned>(type)) {
        case 1:
            return 0;
        case 28:
            return 1;
        case 15:
            return 2;
        case 52:
            return 3;
        default:
            return 4;
    }
}

}  // namespace

query_counts& query_counts::of_process() {
    static query_counts one;
    return one;
}

std::string query_counts::name_of(std::size_t type) {
    static constexpr std::array<const char*, types> names{"A", "AAAA", "MX", "TLSA", "other"};
    return names.at(type);
}

void query_counts::count(record_type type, status s) {
    const auto which = static_cast<std::size_t>(s);
    if (which >= statuses) return;
    counts_.at(index_of(type)).at(which).fetch_add(1, std::memory_order_relaxed);
}

}  // namespace callforward::dns
