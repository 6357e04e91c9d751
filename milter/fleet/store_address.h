// Where a shared store is: [cache] store = "redis://..." as a value. Pure.
//
//   redis://HOST[:PORT][/DB]        a server, or what stands before several
//   rediss://...                    the same over TLS, its certificate verified
//   redis+unix:/PATH                a socket of this machine
//   redis+sentinel://HOST[:PORT],HOST[:PORT],.../NAME[/DB]   the present master of that name
//
// After it "?key=value&...": prefix (of all keys and the channel, default "callforward:"), db,
// ca_file, cert_file, key_file (TLS). No user and no password: they stand in keys of their own, so
// that a URL may be shown. Bounded, and checked before anything is connected to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::milter::fleet {

struct store_host {
    std::string name;  // a host name or an address, without brackets
    std::uint16_t port = 0;

    [[nodiscard]] std::string text() const;
    bool operator==(const store_host&) const = default;
};

struct store_address {
    std::vector<store_host> hosts;  // one, or the sentinels; none for a socket of this machine
    std::string socket_path;
    std::string master;  // what the sentinels call it; "" without sentinels
    bool tls = false;
    unsigned database = 0;
    std::string prefix = "callforward:";
    std::string ca_file;  // "" for the system's trust store
    std::string cert_file;
    std::string key_file;

    bool operator==(const store_address&) const = default;
};

[[nodiscard]] bool is_shared_store(std::string_view store);
// Returns what is wrong with it, as a phrase that continues a sentence about the key; "" when
// nothing is.
[[nodiscard]] std::string parse_store_address(std::string_view text, store_address& into);

}  // namespace callforward::milter::fleet
