#include "smtpclient/handshake_counts.h"

#include <algorithm>

namespace callforward::smtpclient {

handshake_counts& handshake_counts::of_process() {
    static handshake_counts one;
    return one;
}

void handshake_counts::count(std::string_view version, bool good) {
    const auto found = std::find(names.begin(), names.end() - 1, version);
    const auto which = static_cast<std::size_t>(found - names.begin());
    counts_.at(which).at(good ? 1 : 0).fetch_add(1, std::memory_order_relaxed);
}

}  // namespace callforward::smtpclient
