// Internet addresses and networks as values, without asio, so that pure code can use them.
//
// An IPv4-mapped IPv6 address (::ffff:192.0.2.1) is turned into the IPv4 address when it is made:
// lists of networks never need to name both. parse() takes text from configuration files, macros
// and peers; it never throws. Forms accepted: dotted quad and RFC 4291 section 2.2 text, without
// brackets, zone or port.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::dns {

class ip_address {
public:
    using bytes_v4 = std::array<std::uint8_t, 4>;
    using bytes_v6 = std::array<std::uint8_t, 16>;

    ip_address() = default;  // 0.0.0.0
    explicit ip_address(const bytes_v4& bytes);
    explicit ip_address(const bytes_v6& bytes);

    [[nodiscard]] static std::optional<ip_address> parse(std::string_view untrusted);
    // As MTAs and RFC 5321 section 4.1.3 write it: an optional "IPv6:" before an IPv6 address, in
    // any case.
    [[nodiscard]] static std::optional<ip_address> parse_literal(std::string_view untrusted);

    [[nodiscard]] bool is_v4() const { return v4_; }
    [[nodiscard]] bytes_v4 v4() const;  // only when is_v4()
    [[nodiscard]] bytes_v6 v6() const;  // an IPv4 address in its mapped form
    // "::" or 0.0.0.0: no host's, but who connects to it reaches the machine it is on itself.
    [[nodiscard]] bool is_unspecified() const;
    [[nodiscard]] std::string text() const;
    void append_text(std::string& to) const;

    auto operator<=>(const ip_address&) const = default;

private:
    bool v4_ = true;
    bytes_v6 bytes_{};  // an IPv4 address fills the first four
};

class network {
public:
    // "192.0.2.0/24", "2001:db8::/32", or a single address. Host bits may be set; they are ignored.
    [[nodiscard]] static std::optional<network> parse(std::string_view text);
    [[nodiscard]] bool contains(const ip_address& address) const;
    [[nodiscard]] const ip_address& base() const { return base_; }  // as written, host bits too
    [[nodiscard]] unsigned prefix_length() const { return prefix_length_; }
    [[nodiscard]] std::string text() const;

    auto operator<=>(const network&) const = default;

private:
    ip_address base_;
    unsigned prefix_length_ = 0;
};

[[nodiscard]] bool contains(const std::vector<network>& networks, const ip_address& address);

}  // namespace callforward::dns
