// What is used of a shared store, and what is the matter with it.
#pragma once

#include "milter/fleet/store_address.h"
#include "milter/log.h"

#include <chrono>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::milter::fleet {

struct store_options {
    store_address at;
    std::string user;
    std::string password;
    std::chrono::milliseconds timeout{50};  // an answer later than this is not waited for
    std::chrono::milliseconds trust{60000};
    std::chrono::milliseconds connect_within{2000};
    std::chrono::milliseconds first_pause{50};  // after a connection that failed; doubles
    std::chrono::milliseconds longest_pause{3000};
    std::chrono::milliseconds between_beats{500};
    std::chrono::milliseconds stalled_after{2000};  // no answer for so long: connect anew
    std::chrono::milliseconds lease{3000};
    std::function<void(log_level, std::string_view, log_fields)> say = log::say;
};

// What is the matter with the shared store, the worst last. With read_only and full what is known
// is still read.
enum class trouble { none, full, read_only, slow, unreachable, refused, foreign };
[[nodiscard]] std::string_view to_string(trouble t);

// What the connections of this process say of the store, taken together: one log line for each
// change. Thread: any.
class store_health {
public:
    // connections: of how many a first word is awaited, before there is anything to say.
    store_health(const store_options& options, std::size_t connections)
        : say_(options.say), views_(connections) {}

    // why: printable.
    void report(std::size_t connection, trouble t, const std::string& why);

    struct state {
        trouble what = trouble::unreachable;
        std::string why = "not connected yet";
        std::chrono::steady_clock::time_point since;
        std::size_t changes = 0;
    };
    [[nodiscard]] state now() const;

private:
    struct view {
        trouble what = trouble::none;
        std::string why;
        bool told = false;
    };
    std::function<void(log_level, std::string_view, log_fields)> say_;
    mutable std::mutex mutex_;
    std::vector<view> views_;
    state state_;
};

}  // namespace callforward::milter::fleet
