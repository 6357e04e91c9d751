// Connections to a next hop, counted over all edges: [limits] fleet_connections_per_host.
//
// A connection is a lease in the shared store, renewed while it stands and given back at its end;
// those of an edge that has died end by themselves within 15 seconds, and until then nobody gets
// their places. Where the store can not be asked each edge keeps to its own connections_per_host:
// then, and for the time it takes to end what is too much, the figure may be exceeded. Owner: an
// event loop, shared with the leases given; one thread.
#pragma once

#include "milter/fleet/redis_link.h"
#include "milter/fleet/renewal.h"
#include "smtpclient/allowance.h"

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

namespace callforward::milter::fleet {

class connection_leases final : public smtpclient::allowance,
                                public std::enable_shared_from_this<connection_leases> {
public:
    // edge: tells its leases from those of others. limit: 0 for none; may change at any time, and
    // must outlive it.
    connection_leases(asio::any_io_executor executor,
                      std::shared_ptr<redis_link> link,
                      std::string edge,
                      const std::atomic<std::size_t>& limit);

    [[nodiscard]] asio::awaitable<std::shared_ptr<void>> take(std::string host) override;
    void stop();

private:
    [[nodiscard]] std::string command(const std::string& member, const std::string& key) const;
    void give_back(const std::string& member);
    void renew();

    std::shared_ptr<redis_link> link_;
    const std::string edge_;
    const std::atomic<std::size_t>& limit_;
    std::unordered_map<std::string, std::string> held_;  // member -> key
    std::uint64_t taken_ = 0;
    bool stopped_ = false;
    renewal renewal_;
};

}  // namespace callforward::milter::fleet
