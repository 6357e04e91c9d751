#include "smtpclient/late_rejecters.h"

namespace callforward::smtpclient {

namespace {

constexpr std::size_t most_hosts = 10000;

std::string key(const std::string& host, std::uint16_t port) {
    return host + ' ' + std::to_string(port);
}

}  // namespace

void late_rejecters::note(const std::string& host, std::uint16_t port) {
    if (hosts_.size() >= most_hosts || !hosts_.insert(key(host, port)).second) return;
    if (!advise_) return;
    advise_(host,
            "this host refuses at DATA recipients that it accepts at RCPT: set probe_until = "
            "\"data\" for the domains that it serves");
}

bool late_rejecters::knows(const std::string& host, std::uint16_t port) const {
    return hosts_.contains(key(host, port));
}

}  // namespace callforward::smtpclient
