// The records and misbehaviours of the tests' DNS server, as text lines. Pure.
//
//     example.test MX 10 mx1.example.test      null.test MX 0 .       a.test CNAME b.test
//     mx1.example.test A 127.0.0.2             mx1.example.test AAAA ::1
//     slow.test DELAY 300                      slow.test TTL 5        signed.test AD
//     _25._tcp.mx1.test TLSA 3 1 1 ab12        a.test TXT v=x; words joined by one blank
//
// The other marks, each behind a name: SERVFAIL, REFUSED, NXDOMAIN (without SOA), TIMEOUT (no
// answer), TRUNCATE (TC over UDP, all over TCP), GARBAGE, EMPTY (an empty UDP packet), WRONGID (a
// forged reply first, then the right one), WRONGQUESTION (likewise), DUPLICATE, UPPER (answers in
// capitals), NOEDNS (FORMERR to EDNS), BARE (a CNAME without its target), REFERRAL; after
// truncation TCPCLOSE, TCPSTALL, TCPSHORT. A type behind it limits a mark to that type: "six.test
// SERVFAIL AAAA". Blank lines and what stands behind # are skipped. A name not listed is NXDOMAIN;
// one without the type has no data: with SOA.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::test {

enum : std::uint16_t {
    dns_a = 1,
    dns_ns = 2,
    dns_cname = 5,
    dns_soa = 6,
    dns_mx = 15,
    dns_txt = 16,
    dns_aaaa = 28,
    dns_opt = 41,
    dns_tlsa = 52
};

struct dns_record {
    std::uint16_t type = 0;
    std::vector<std::uint8_t> rdata;
    std::string target;  // of a CNAME
};

struct dns_name {
    std::vector<dns_record> records;
    std::set<std::string, std::less<>> marks;  // "SERVFAIL", "SERVFAIL AAAA"
    std::uint32_t ttl = 300;
    int delay_ms = 0;
};

// Names in lower case, without trailing dot.
using dns_zone = std::map<std::string, dns_name, std::less<>>;

// Throws std::runtime_error with the line.
[[nodiscard]] dns_zone parse_dns_zone(std::string_view text);

[[nodiscard]] bool has_mark(const dns_name& name, const std::string& mark, unsigned type);
[[nodiscard]] std::string dns_type_name(unsigned type);
[[nodiscard]] std::string lower_name(std::string_view name);

}  // namespace callforward::test
