// Hosts that refuse at DATA what they accept at RCPT: only a call-forward that goes as far
// (probe_until = "data") can verify their recipients.
//
// Known by name and port, whatever policy asked: one that asks as far as RCPT learns of what
// another one found. One event loop thread; at most 10,000, then no more are noted.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>

namespace callforward::smtpclient {

class late_rejecters {
public:
    // Called once for each host, with words for the log that name the setting.
    using advice = std::function<void(const std::string& host, const std::string& what_to_do)>;

    void tell(advice to) { advise_ = std::move(to); }
    void note(const std::string& host, std::uint16_t port);
    [[nodiscard]] bool knows(const std::string& host, std::uint16_t port) const;

private:
    std::set<std::string> hosts_;
    advice advise_;
};

}  // namespace callforward::smtpclient
