// DNS messages of the tests' server, made byte by byte: the code under test has no part in them.
// Pure.
#pragma once

#include "tests/support/dns_zone.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::test {

class dns_writer {
public:
    dns_writer& u8(unsigned value);
    dns_writer& u16(unsigned value);
    dns_writer& u32(std::uint32_t value);
    dns_writer& raw(std::span<const std::uint8_t> bytes);
    dns_writer& name(std::string_view dotted);  // uncompressed; "" or "." is the root
    dns_writer& pointer(unsigned offset) { return u16(0xc000U | offset); }
    // id 1, one question.
    dns_writer& header(unsigned flags,
                       unsigned answers,
                       unsigned authority = 0,
                       unsigned additional = 0);
    dns_writer& question(std::string_view name, unsigned type);
    // The record up to and with its rdata.
    dns_writer& record(std::string_view owner,
                       unsigned type,
                       std::uint32_t ttl,
                       std::span<const std::uint8_t> rdata);

    [[nodiscard]] const std::vector<std::uint8_t>& bytes() const { return bytes_; }

private:
    std::vector<std::uint8_t> bytes_;
};

[[nodiscard]] std::vector<std::uint8_t> soa_rdata(std::uint32_t minimum);

struct dns_question {
    std::string name;  // lower case
    unsigned type = 0;
    std::size_t end = 0;  // of the question section
    bool edns = false;
    bool wants_ad = false;
    std::size_t udp_size = 512;
};

// Nothing for what is no DNS question.
[[nodiscard]] std::optional<dns_question> read_dns_question(std::span<const std::uint8_t> query);

// The right reply, or the wrong one that the zone wants for this name.
[[nodiscard]] std::vector<std::uint8_t> dns_reply(const dns_zone& zone,
                                                  std::span<const std::uint8_t> query,
                                                  const dns_question& question,
                                                  bool over_tcp);

}  // namespace callforward::test
