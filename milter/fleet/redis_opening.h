// A connection to the store's server that is ready for commands: found (by sentinels, where they
// are named), connected, and logged in.
#pragma once

#include "milter/fleet/redis_connection.h"
#include "milter/fleet/store_options.h"

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <random>
#include <string>

namespace callforward::milter::fleet {

// What an error that came as a reply says of the store.
[[nodiscard]] trouble trouble_of(const resp_value& error);

struct opened {
    std::string why;  // "" when it is open, else what has failed
    trouble what = trouble::unreachable;
    std::string where;
};

// `into` has the connection, from before it is open, so that its owner can close it at any time.
// sentinel: the one that answered last is asked first. All references must stay good until the end.
[[nodiscard]] asio::awaitable<opened> open_redis(asio::any_io_executor executor,
                                                 std::shared_ptr<const store_options> options,
                                                 tls_files* tls,
                                                 std::size_t& sentinel,
                                                 std::shared_ptr<redis_connection>& into);

// Before it is opened again, after so many failures in a row.
[[nodiscard]] std::chrono::milliseconds pause_after(unsigned failures,
                                                    const store_options& options,
                                                    std::minstd_rand& random);

}  // namespace callforward::milter::fleet
