// A small hermetic DNS server for tests: UDP and TCP on one loopback port, in a thread of its own.
//
// What it answers, and how it misbehaves, is text: see dns_zone.h. It counts the questions that
// arrive. Safe to call from any thread; ends with its destructor.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace callforward::test {

class dns_server {
public:
    // Throws std::runtime_error when the zone is not understood or the address ("127.0.0.1:0",
    // "[::1]:0") not free.
    explicit dns_server(std::string_view zone, const std::string& listen = "127.0.0.1:0");
    dns_server(const dns_server&) = delete;
    dns_server& operator=(const dns_server&) = delete;
    ~dns_server();

    [[nodiscard]] std::string address() const;  // "127.0.0.1:5353", "[::1]:5353"
    [[nodiscard]] std::uint16_t port() const;

    // Replaces all records. Throws std::runtime_error, and keeps the old ones, when they are not
    // understood.
    void set(std::string_view zone);

    // Questions received so far, over UDP and TCP; type is "MX", "A" or "AAAA".
    [[nodiscard]] std::size_t questions(std::string_view name, std::string_view type) const;
    [[nodiscard]] std::size_t questions() const;
    // Of those, how many came with the AD bit and EDNS.
    [[nodiscard]] std::size_t questions_with_ad_and_edns() const;

private:
    class implementation;
    std::unique_ptr<implementation> implementation_;
};

}  // namespace callforward::test
