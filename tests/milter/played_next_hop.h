// A next hop for tests of the daemon's parts: test-smtp-server with rules (smtp_rules.h), on a
// loopback port of its own.
//
// events() is its log so far, one event a line ("rcpt u@a.test 550"); complete for what the client
// has had an answer to. Ends with the object.
#pragma once

#include "milter/settings.h"
#include "tests/support/process.h"
#include "tests/support/temporary_folder.h"

#include <string>
#include <string_view>
#include <vector>

namespace callforward::tests {

// The settings of an empty file, but for the store: no test writes to the machine's /var/lib.
[[nodiscard]] inline milter::settings in_memory_settings() {
    milter::settings s = milter::default_settings();
    s.cache.store = "memory";
    return s;
}

// A reply's text as it was before " (cf-" and the trace id were put behind it.
[[nodiscard]] inline std::string without_trace_id(const std::string& text) {
    constexpr std::size_t length = 13;
    const auto at = text.size() < length ? std::string::npos : text.size() - length;
    const bool has_one = at != std::string::npos && text.compare(at, 5, " (cf-") == 0;
    return has_one ? text.substr(0, at) : text;
}

class played_next_hop {
public:
    explicit played_next_hop(std::string_view rules);

    // Other rules, for the commands from now on.
    void use(std::string_view rules);
    // As a route of the MTA or of the configuration has it: "[127.0.0.1]:PORT".
    [[nodiscard]] const std::string& route() const { return route_; }
    [[nodiscard]] std::vector<std::string> events() const;
    // How many events begin so.
    [[nodiscard]] std::size_t count(std::string_view beginning) const;
    // Waits, bounded, until there are so many.
    [[nodiscard]] bool wait_for(std::string_view beginning, std::size_t times = 1) const;

private:
    testing::temporary_folder folder_;
    std::string log_;
    testing::process server_;
    std::string route_;
};

}  // namespace callforward::tests
