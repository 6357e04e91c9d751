#include "dns/ip.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace callforward::dns {

namespace {

constexpr std::array<std::uint8_t, 12> mapped_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

}  // namespace

ip_address::ip_address(const bytes_v4& bytes) {
    std::copy(bytes.begin(), bytes.end(), bytes_.begin());
}

ip_address::ip_address(const bytes_v6& bytes) {
    if (std::equal(mapped_prefix.begin(), mapped_prefix.end(), bytes.begin())) {
        std::copy(bytes.begin() + mapped_prefix.size(), bytes.end(), bytes_.begin());
    } else {
        v4_ = false;
        bytes_ = bytes;
    }
}

std::optional<ip_address> ip_address::parse(std::string_view untrusted) {
    if (untrusted.size() >= INET6_ADDRSTRLEN) return std::nullopt;
    // inet_pton needs a terminator, and would stop at a NUL inside.
    if (untrusted.find('\0') != std::string_view::npos) return std::nullopt;
    std::array<char, INET6_ADDRSTRLEN> text{};
    std::copy(untrusted.begin(), untrusted.end(), text.begin());
    bytes_v4 four{};
    if (inet_pton(AF_INET, text.data(), four.data()) == 1) return ip_address(four);
    bytes_v6 sixteen{};
    if (inet_pton(AF_INET6, text.data(), sixteen.data()) == 1) return ip_address(sixteen);
    return std::nullopt;
}

std::optional<ip_address> ip_address::parse_literal(std::string_view untrusted) {
    constexpr std::string_view tag = "ipv6:";
    const bool tagged =
        untrusted.size() > tag.size() &&
        std::equal(tag.begin(), tag.end(), untrusted.begin(), [](char want, char is) {
            return want == (is >= 'A' && is <= 'Z' ? is + ('a' - 'A') : is);
        });
    if (!tagged) return parse(untrusted);
    const std::string_view rest = untrusted.substr(tag.size());
    if (rest.find(':') == std::string_view::npos) return std::nullopt;  // "IPv6:192.0.2.1"
    return parse(rest);
}

ip_address::bytes_v4 ip_address::v4() const {
    return {bytes_[0], bytes_[1], bytes_[2], bytes_[3]};
}

ip_address::bytes_v6 ip_address::v6() const {
    if (!v4_) return bytes_;
    bytes_v6 mapped{};
    std::copy(mapped_prefix.begin(), mapped_prefix.end(), mapped.begin());
    std::copy_n(bytes_.begin(), 4, mapped.begin() + mapped_prefix.size());
    return mapped;
}

bool ip_address::is_unspecified() const {
    return bytes_ == bytes_v6{};
}

std::string ip_address::text() const {
    std::string text;
    append_text(text);
    return text;
}

void ip_address::append_text(std::string& to) const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (v4_) {  // in each line of the log; inet_ntop() goes through sprintf()
        char* end = text.data();
        for (std::size_t i = 0; i < 4; ++i) {
            if (i > 0) *end++ = '.';
            end = std::to_chars(end, text.data() + text.size(), unsigned{bytes_[i]}).ptr;
        }
        to.append(text.data(), end);
        return;
    }
    inet_ntop(AF_INET6, bytes_.data(), text.data(), text.size());
    to += text.data();
}

std::optional<network> network::parse(std::string_view text) {
    const auto slash = text.find('/');
    const auto base = ip_address::parse(text.substr(0, slash));
    if (!base) return std::nullopt;
    const bool written_as_v6 = text.substr(0, slash).find(':') != std::string_view::npos;
    unsigned longest = written_as_v6 ? 128 : 32;
    unsigned length = longest;
    if (slash != std::string_view::npos) {
        const std::string_view digits = text.substr(slash + 1);
        const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), length);
        if (error != std::errc{} || end != digits.data() + digits.size() || length > longest) {
            return std::nullopt;
        }
    }
    if (written_as_v6 && base->is_v4()) {
        // "::ffff:192.0.2.0/120" is the IPv4 network 192.0.2.0/24; a shorter prefix is more than
        // IPv4.
        if (length < 96) return std::nullopt;
        length -= 96;
    }
    network result;
    result.base_ = *base;
    result.prefix_length_ = length;
    return result;
}

bool network::contains(const ip_address& address) const {
    if (address.is_v4() != base_.is_v4()) return false;
    const auto ours = base_.v6();
    const auto theirs = address.v6();
    unsigned bits = prefix_length_ + (base_.is_v4() ? 96 : 0);
    for (std::size_t i = 0; i < ours.size() && bits > 0; ++i) {
        const unsigned here = std::min(bits, 8U);
        const auto mask = static_cast<std::uint8_t>(0xffU << (8 - here));
        if ((ours[i] & mask) != (theirs[i] & mask)) return false;
        bits -= here;
    }
    return true;
}

std::string network::text() const {
    return base_.text() + '/' + std::to_string(prefix_length_);
}

namespace {

// The IPv4 address that NAT64 with the well-known prefix leads to (RFC 6052 section 2.1): who
// denies 127.0.0.0/8 means 64:ff9b::127.0.0.1, too.
std::optional<ip_address> behind_nat64(const ip_address& address) {
    constexpr std::array<std::uint8_t, 12> well_known{0, 0x64, 0xff, 0x9b};
    if (address.is_v4()) return std::nullopt;
    const auto bytes = address.v6();
    if (!std::equal(well_known.begin(), well_known.end(), bytes.begin())) return std::nullopt;
    return ip_address(ip_address::bytes_v4{bytes[12], bytes[13], bytes[14], bytes[15]});
}

}  // namespace

bool contains(const std::vector<network>& networks, const ip_address& address) {
    const auto translated = behind_nat64(address);
    return std::any_of(networks.begin(), networks.end(), [&](const network& n) {
        return n.contains(address) || (translated && n.contains(*translated));
    });
}

}  // namespace callforward::dns
