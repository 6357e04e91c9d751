// The resolver that the call-forward asks. One of the program's seams: the real one is
// ares_resolver.
//
// All coroutines run on, and complete on, the executor that the resolver was made for; they never
// throw because of what the network did, and end by the resolver's own deadline for one question
// ([dns] timeout) with `unavailable`.
#pragma once

#include "dns/answer.h"

#include <asio/awaitable.hpp>

namespace callforward::dns {

class resolver {
public:
    resolver() = default;
    resolver(const resolver&) = delete;
    resolver& operator=(const resolver&) = delete;
    virtual ~resolver() = default;

    [[nodiscard]] virtual asio::awaitable<answer<mx>> mail_exchangers(domain of) = 0;

    // A and AAAA together. Found if either has records (the other may have failed: RFC 5321 needs
    // one good address); else unavailable if either is; else no_such_name or no_data.
    [[nodiscard]] virtual asio::awaitable<answer<ip_address>> addresses(domain of) = 0;

    // Of TCP services (RFC 7672 section 2.1.1).
    [[nodiscard]] virtual asio::awaitable<answer<tlsa>> tlsa_records(domain of,
                                                                     std::uint16_t port) = 0;

    [[nodiscard]] virtual asio::awaitable<answer<std::string>> texts(domain of) = 0;
};

}  // namespace callforward::dns
