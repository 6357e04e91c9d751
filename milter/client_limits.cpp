#include "milter/client_limits.h"

#include "milter/verdicts/key.h"

#include <algorithm>

namespace callforward::milter {

namespace {

bool is_off(const limits_settings& s) {
    return s.unknown_per_client == 0 || s.unknown_window <= milliseconds(0);
}

}  // namespace

// Keyed, so that nobody who owns many addresses can choose those that fall into one bucket.
std::size_t client_limits::key_hash::operator()(const network_key& key) const {
    std::array<char, std::tuple_size_v<network_key>> bytes{};
    std::copy(key.begin(), key.end(), bytes.begin());
    return verdicts::seeded_hash({bytes.data(), bytes.size()}, verdicts::hash_seed::of_process());
}

void client_limits::counted::move_to(time_point now, std::chrono::milliseconds window) {
    if (now < begin + window) return;
    before = now < begin + 2 * window ? here : 0;
    here = 0;
    // A quiet client begins anew, so that its first window is exact again.
    begin = before > 0 ? begin + window : now;
}

std::size_t client_limits::counted::within(time_point now, std::chrono::milliseconds window) const {
    const std::chrono::duration<double> whole = window;
    const std::chrono::duration<double> gone = now - begin;
    const double left = std::clamp(1.0 - gone / whole, 0.0, 1.0);
    return here + static_cast<std::size_t>(static_cast<double>(before) * left);
}

client_limits::client_limits(std::size_t most_clients)
    : most_in_part_(std::max<std::size_t>(1, most_clients / parts_.size())) {}

client_limits::network_key client_limits::key_of(const dns::ip_address& client) {
    network_key key = client.v6();
    if (!client.is_v4()) std::fill(key.begin() + 8, key.end(), std::uint8_t{0});
    return key;
}

// The high bits: the low ones choose the bucket within the part.
client_limits::part& client_limits::part_of(const network_key& key) {
    return parts_[(key_hash{}(key) >> 32U) % parts_.size()];
}

bool client_limits::is_beyond(const dns::ip_address& client,
                              const limits_settings& s,
                              time_point now) {
    if (is_off(s) || !any_.load(std::memory_order_relaxed)) return false;
    const network_key key = key_of(client);
    part& its = part_of(key);
    const std::lock_guard lock(its.mutex);
    const auto found = its.table.find(key);
    if (found == its.table.end()) return false;
    found->second->move_to(now, s.unknown_window);
    return found->second->within(now, s.unknown_window) >= s.unknown_per_client;
}

void client_limits::count_unknown(const dns::ip_address& client,
                                  const limits_settings& s,
                                  time_point now) {
    if (is_off(s)) return;
    any_.store(true, std::memory_order_relaxed);
    const network_key key = key_of(client);
    part& its = part_of(key);
    const std::lock_guard lock(its.mutex);
    if (const auto found = its.table.find(key); found != its.table.end()) {
        its.clients.splice(its.clients.begin(), its.clients, found->second);
    } else {
        if (its.clients.size() >= most_in_part_) {
            its.table.erase(its.clients.back().key);
            its.clients.pop_back();
        }
        its.clients.push_front({key, now, 0, 0});
        its.table.emplace(key, its.clients.begin());
    }
    counted& client_count = its.clients.front();
    client_count.move_to(now, s.unknown_window);
    ++client_count.here;
}

std::size_t client_limits::size() const {
    std::size_t all = 0;
    for (const part& each : parts_) {
        const std::lock_guard lock(each.mutex);
        all += each.clients.size();
    }
    return all;
}

}  // namespace callforward::milter
