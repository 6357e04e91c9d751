// The addresses of a host in hosts(5), for names that DNS does not know, and its full name.
//
//   address name alias... # comment
//
// Both families, in the order of the file; letter case does not matter. Read anew with each call,
// which blocks for as long as that takes: the first MiB of the file, and 32 addresses at most. The
// file is untrusted: what is no such line is left out, and a file that can not be read has none.
#pragma once

#include "dns/domain.h"
#include "dns/ip.h"

#include <optional>
#include <string>
#include <vector>

namespace callforward::dns {

[[nodiscard]] std::vector<ip_address> addresses_in_hosts_file(const std::string& path,
                                                              const domain& name);
// The first name, where it has a dot, of a line that has this one: what hostname -f says.
[[nodiscard]] std::optional<domain> full_name_in_hosts_file(const std::string& path,
                                                            const domain& name);

}  // namespace callforward::dns
