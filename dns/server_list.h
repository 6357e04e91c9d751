// The DNS servers of the configuration, checked and in the form that c-ares takes. Pure.
//
// "127.0.0.1", "127.0.0.1:53", "::1", "[::1]:53"; port 53 where none is given. c-ares itself would
// skip what it does not understand, and ask someone else.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace callforward::dns {

// "127.0.0.1:53,[::1]:53". Throws std::runtime_error, with advice, for a server that is not
// understood.
[[nodiscard]] std::string server_list(const std::vector<std::string>& servers);

// Of a list made by server_list(): whether what these servers say comes over no network.
[[nodiscard]] bool all_on_loopback(std::string_view list);

}  // namespace callforward::dns
