// Connecting to one host that may have many addresses: both families raced (RFC 8305).
//
// The next address is tried when the one before has failed, or has not answered within 250 ms; the
// first to connect wins and the others are closed. Addresses come in the order given, families
// alternating. Ends by `deadline`, or when the last address has had `patience`.
#pragma once

#include "dns/ip.h"
#include "smtpclient/client_identity.h"
#include "smtpclient/connection.h"

#include <asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

namespace callforward::smtpclient {

struct endpoint {
    std::optional<dns::ip_address> address;
    std::uint16_t port = 0;
    std::string socket_path;                             // instead of an address
    std::optional<dns::ip_address> from = std::nullopt;  // our side's; nothing: the system's choice
    // For whom the next hop is asked there; nothing where it is not told.
    std::optional<client_identity> client = std::nullopt;

    [[nodiscard]] std::string text() const;
};

struct connected {
    std::optional<stream_socket> socket;  // nothing when none could be connected
    std::size_t which = 0;                // index of the winner
    // Indices that refused, or had no less time than the winner.
    std::vector<std::size_t> failed;
    // Of the last failure: no answer; or this machine had no descriptor or memory for it, of which
    // the host knows nothing.
    bool timed_out = false;
    bool without_means = false;
    std::string why;  // for the log, when none could be connected
};

// Of a system call: this process, or machine, has no descriptor or memory left.
[[nodiscard]] bool is_lack_of_means(const std::error_code& ec);

// Alternates the families, the first address' family first.
[[nodiscard]] std::vector<dns::ip_address> interleave(
    const std::vector<dns::ip_address>& addresses);

// RFC 8305 section 5: Connection Attempt Delay.
constexpr std::chrono::milliseconds attempt_delay{250};

[[nodiscard]] asio::awaitable<connected> connect_any(
    std::vector<endpoint> candidates,
    std::chrono::milliseconds patience,
    steady_time deadline,
    std::chrono::milliseconds head_start = attempt_delay);

}  // namespace callforward::smtpclient
