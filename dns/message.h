// A DNS message as it came from a server, read: untrusted bytes in, an answer out. Pure; libc's
// ns_* functions below.
//
// The question must be the one that was asked, or nothing is believed. Only records of class IN
// count, and of those only the ones that hang on the name asked, at the end of at most 16 CNAMEs
// (the TTL is the least on the way). An absence lives as its SOA says (RFC 2308), and not at all
// without one. At most 512 answers are looked at. Anything malformed makes the whole message
// `unavailable`; why says so in words. Nothing here throws but bad_alloc.
#pragma once

#include "dns/answer.h"

#include <cstdint>
#include <optional>
#include <span>

namespace callforward::dns {

enum class record_type : std::uint16_t { a = 1, mx = 15, txt = 16, aaaa = 28, tlsa = 52 };
[[nodiscard]] std::string_view to_string(record_type t);

inline constexpr int max_cnames = 16;

template <class Record>
struct reading {
    dns::answer<Record> answer;
    // The message ends in a CNAME and says nothing about its target: this name is to be asked for.
    // The answer is unavailable then; its ttl and secure are those of the way so far.
    std::optional<domain> ask_next;
};

// A numeric exchange, or one that no host can have, is left out; so `found` may come without
// records. A null MX beside a record left out is left out as well: it was not the only one.
[[nodiscard]] reading<mx> read_mail_exchangers(std::span<const std::uint8_t> untrusted,
                                               const domain& asked);

// type: a or aaaa.
[[nodiscard]] reading<ip_address> read_addresses(std::span<const std::uint8_t> untrusted,
                                                 const domain& asked,
                                                 record_type type);

[[nodiscard]] reading<tlsa> read_tlsa(std::span<const std::uint8_t> untrusted, const domain& asked);

// The strings of a record joined without blanks (RFC 7208 section 3.3, RFC 8461 section 3.1).
[[nodiscard]] reading<std::string> read_texts(std::span<const std::uint8_t> untrusted,
                                              const domain& asked);

}  // namespace callforward::dns
