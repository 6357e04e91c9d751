// What a DNS question came to. The four statuses are kept apart everywhere, because a mail system
// must not take "could not find out" for "does not exist" (RFC 5321 section 5.1).
#pragma once

#include "dns/domain.h"
#include "dns/ip.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::dns {

enum class status {
    found,         // at least one record, though perhaps none that names a possible host
    no_data,       // the name exists, without records of this type
    no_such_name,  // NXDOMAIN
    unavailable,   // timeout, SERVFAIL, REFUSED, malformed message, CNAME loop: nothing is known
};
[[nodiscard]] std::string_view to_string(status s);

struct mx {
    std::uint16_t preference = 0;
    std::optional<domain> exchange;  // nothing: "." (RFC 7505)

    bool operator==(const mx&) const = default;
};

struct tlsa {  // RFC 6698 section 2.1
    std::uint8_t usage = 0;
    std::uint8_t selector = 0;
    std::uint8_t matching = 0;
    std::vector<std::uint8_t> data;  // untrusted, may be empty

    bool operator==(const tlsa&) const = default;
};

template <class Record>
struct answer {
    dns::status status = dns::status::unavailable;
    std::vector<Record> records;  // empty unless found
    std::chrono::seconds ttl{0};  // of the answer, or of its absence (RFC 2308); 0: not to be kept
    bool secure = false;  // the AD bit of the answer, believed or not as the resolver was told
    std::string
        canonical;    // owner of the records after CNAMEs; the name asked where there were none
    std::string why;  // for the log, when unavailable: "timeout", "SERVFAIL from 127.0.0.1", ...
};

}  // namespace callforward::dns
