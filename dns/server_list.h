// The DNS servers of the configuration, checked and in the form that c-ares takes; or the system's.
// Pure, but for those.
//
// "127.0.0.1", "127.0.0.1:53", "::1", "[::1]:53"; port 53 where none is given. c-ares itself would
// skip what it does not understand, and ask someone else.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::dns {

// "127.0.0.1:53" or "[::1]:53"; nothing for a server that is not understood.
[[nodiscard]] std::optional<std::string> normal_server(std::string_view text);
// "127.0.0.1:53,[::1]:53". Throws std::runtime_error, with advice, for a server that is not
// understood.
[[nodiscard]] std::string server_list(const std::vector<std::string>& servers);

// Those of this file as it is now, in the form that server_list() takes; as resolv.conf(5) has it,
// this host's where it names none or cannot be read. Throws std::runtime_error, with advice, when
// c-ares cannot start.
[[nodiscard]] std::vector<std::string> system_servers(
    const std::string& resolv_conf = "/etc/resolv.conf");

// Of a list made by server_list(): whether what these servers say comes over no network.
[[nodiscard]] bool all_on_loopback(std::string_view list);

}  // namespace callforward::dns
