// How many recipients that do not exist each client has named: who harvests addresses is shown the
// door (INTERFACE section 2, [limits] unknown_per_client).
//
// A client is an IPv4 address or an IPv6 /64. It is counted in windows of unknown_window, the one
// before weighed by the part of it that still lies within the time: exact in the first, and never
// more than two numbers a client. At most `most_clients` are remembered; who was counted longest
// ago is forgotten first. A limit or a window of 0 is none. The clock is an argument. Safe to use
// from any thread: split by hash, each part behind a mutex of its own; a look-up allocates nothing.
#pragma once

#include "dns/ip.h"
#include "milter/settings.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <unordered_map>

namespace callforward::milter {

class client_limits {
public:
    using time_point = std::chrono::steady_clock::time_point;

    explicit client_limits(std::size_t most_clients = 100'000);

    [[nodiscard]] bool is_beyond(const dns::ip_address& client,
                                 const limits_settings& s,
                                 time_point now);
    void count_unknown(const dns::ip_address& client, const limits_settings& s, time_point now);
    [[nodiscard]] std::size_t size() const;

private:
    using network_key = std::array<std::uint8_t, 16>;
    struct key_hash {
        std::size_t operator()(const network_key& key) const;
    };
    struct counted {
        network_key key{};
        time_point begin;  // of the window that `here` counts in
        std::size_t before = 0;
        std::size_t here = 0;

        void move_to(time_point now, std::chrono::milliseconds window);
        [[nodiscard]] std::size_t within(time_point now, std::chrono::milliseconds window) const;
    };
    struct part {
        mutable std::mutex mutex;
        std::list<counted> clients;  // counted most recently first
        std::unordered_map<network_key, std::list<counted>::iterator, key_hash> table;
    };

    [[nodiscard]] static network_key key_of(const dns::ip_address& client);
    [[nodiscard]] part& part_of(const network_key& key);

    std::size_t most_in_part_;
    std::atomic<bool> any_{false};  // was ever counted: until then nobody has to be looked for
    std::array<part, 16> parts_;
};

}  // namespace callforward::milter
