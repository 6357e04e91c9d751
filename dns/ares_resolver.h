// The resolver on c-ares, its sockets and timers driven by one asio event loop.
//
// Messages are made with ares_create_query (random id, RD, AD asked for, EDNS), sent with
// ares_send, and parsed by dns/message.h: c-ares' own MX parser drops TTLs and the AD bit. UDP
// first, TCP after truncation; servers in turn. Answers are kept for their TTL (bounded in time and
// number); equal questions under way are asked once. Owner and thread: made, used and destroyed on
// the event loop's one thread; outlives its questions.
#pragma once

#include "dns/resolver.h"
#include "dns/trust_in_ad.h"

#include <asio/any_io_executor.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace callforward::dns {

struct resolver_options {
    std::vector<std::string> servers;         // "127.0.0.1:53", "[::1]:53"; empty: /etc/resolv.conf
    std::chrono::milliseconds timeout{5000};  // one question, all servers and retries together
    std::size_t cache_capacity = 20000;       // answers kept: half of them MX, half addresses
    trust_in_ad trust_ad = trust_in_ad::automatic;

    bool operator==(const resolver_options&) const = default;
};

class ares_resolver final : public resolver {
public:
    // Throws std::runtime_error, with advice, when a server is not understood or c-ares cannot
    // start.
    ares_resolver(asio::any_io_executor executor, const resolver_options& options);
    ~ares_resolver() override;

    [[nodiscard]] asio::awaitable<answer<mx>> mail_exchangers(domain of) override;
    [[nodiscard]] asio::awaitable<answer<ip_address>> addresses(domain of) override;
    [[nodiscard]] asio::awaitable<answer<tlsa>> tlsa_records(domain of,
                                                             std::uint16_t port) override;
    [[nodiscard]] asio::awaitable<answer<std::string>> texts(domain of) override;

private:
    class implementation;
    // Shared with the questions under way, which end a moment after it, unavailable.
    std::shared_ptr<implementation> implementation_;
};

}  // namespace callforward::dns
