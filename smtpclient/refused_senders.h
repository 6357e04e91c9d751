// Senders that a host refuses while it takes the one that stands in for them (sender_fallback), so
// that the next recipient is asked for without being refused first.
//
// Known per host and the sender's domain, because a refusal of one domain says nothing about
// others; "" is the null sender. Each is remembered for an hour, then the sender itself is tried
// again. One event loop thread; at most 10,000, then those past their time go, or all.
#pragma once

#include "smtpclient/connection.h"

#include <string>
#include <string_view>
#include <unordered_map>

namespace callforward::smtpclient {

class refused_senders {
public:
    [[nodiscard]] static std::string key(const std::string& host, std::string_view sender);

    [[nodiscard]] bool knows(const std::string& key, steady_time now) const;
    void note(const std::string& key, steady_time now);
    void forget(const std::string& key) { entries_.erase(key); }
    // Of all hosts; "": all senders.
    void forget_domain(std::string_view of_senders);

private:
    std::unordered_map<std::string, steady_time> entries_;  // until when
};

}  // namespace callforward::smtpclient
