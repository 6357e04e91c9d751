// alice@sender.test asks for bob@next.test at a port of the loopback: what tests of the library
// begin with, for its own options and those of its public headers.
#pragma once

#include <chrono>
#include <cstdint>

namespace callforward::testing {

template <class Options>
[[nodiscard]] Options query_to_port(std::uint16_t port) {
    Options options;
    options.rcptto = "bob@next.test";
    options.mailfrom = "alice@sender.test";
    options.host = "127.0.0.1";
    options.port = port;
    options.helo = "client.test";
    options.timeout = std::chrono::seconds{10};
    return options;
}

}  // namespace callforward::testing
