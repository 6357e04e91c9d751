#include "smtpclient/connection_count.h"

#include <mutex>
#include <unordered_map>

namespace callforward::smtpclient {

namespace {

struct host_counts {
    std::mutex mutex;
    std::unordered_map<std::string, std::size_t> taken;  // never 0
};

// Never destroyed: a session of the library may end after all that is.
host_counts& of_process() {
    static auto& counts = *new host_counts;
    return counts;
}

}  // namespace

place_at_host::place_at_host(std::string host) : host_(std::move(host)) {
    const std::lock_guard lock(of_process().mutex);
    ++of_process().taken[host_];
}

place_at_host::~place_at_host() {
    const std::lock_guard lock(of_process().mutex);
    const auto its = of_process().taken.find(host_);
    if (--its->second == 0) of_process().taken.erase(its);
}

std::size_t place_at_host::taken(const std::string& host) {
    const std::lock_guard lock(of_process().mutex);
    const auto its = of_process().taken.find(host);
    return its == of_process().taken.end() ? 0 : its->second;
}

}  // namespace callforward::smtpclient
