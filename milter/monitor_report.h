// What mode = "monitor" would have refused or put off: by hour, domain, reason and action, with
// example addresses. Before an operator enforces, this is what would happen.
//
// At most 10,000 rows of 31 days; when there are more, the oldest hour goes. An hour still to come
// was written by a clock that was wrong then, or the clock is wrong now: it is kept, is not told,
// and goes first. text() and read() turn the rows into lines of JSON and back, for a file that
// outlives the process; save() and load() are that file, replaced as a whole, so that a kill leaves
// the old one or the new one. A line that is not understood is left out. The clock is an argument.
// Thread: any.
#pragma once

#include "milter/settings.h"
#include "smtpclient/verdict.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace callforward::milter {

class monitor_report {
public:
    using wall_time = std::chrono::system_clock::time_point;
    static constexpr std::size_t most_rows = 10000;
    static constexpr std::size_t most_examples = 5;
    static constexpr std::chrono::hours kept{31 * 24};

    struct sum {
        std::string domain;
        smtpclient::reason reason = smtpclient::reason::off;
        milter::action action = action::accept;
        std::uint64_t count = 0;
        std::vector<std::string> examples;  // untrusted
    };

    void note(std::string_view domain,
              smtpclient::reason r,
              action would,
              std::string_view recipient,
              wall_time now);
    // Of one domain, or of all where it is "", until now; the largest first.
    [[nodiscard]] std::vector<sum> since(wall_time begin,
                                         std::string_view domain,
                                         wall_time now) const;

    [[nodiscard]] std::string text() const;
    void read(std::string_view untrusted, wall_time now);
    // "" or what went wrong.
    [[nodiscard]] std::string save(const std::string& file);
    void load(const std::string& file, wall_time now);
    [[nodiscard]] bool is_changed() const;  // since the last save()

private:
    using row_key = std::tuple<std::int64_t, std::string, smtpclient::reason, action>;
    struct row {
        std::uint64_t count = 0;
        std::vector<std::string> examples;
    };
    void drop_old(std::int64_t now_hour);

    mutable std::mutex mutex_;
    std::map<row_key, row> rows_;
    bool changed_ = false;
};

}  // namespace callforward::milter
