#include "smtpclient/client_identity.h"

#include "dns/byte_set.h"
#include "dns/domain.h"
#include "smtpclient/printable.h"

#include <algorithm>

namespace callforward::smtpclient {

namespace {

constexpr std::size_t longest_command = 510;  // RFC 5321 section 4.5.3.1.4, without CRLF
constexpr std::size_t longest_value = 255;
constexpr std::string_view unavailable = "[UNAVAILABLE]";

std::string xtext(std::string_view value) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string text;
    for (const char c : value) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte > 0x20 && byte < 0x7f && c != '+' && c != '=') {
            text += c;
        } else {
            text += '+';
            text += digits[byte / 16];
            text += digits[byte % 16];
        }
    }
    return text;
}

std::string name_of(const client_identity& who) {
    const auto name = dns::domain::parse(who.name);
    const bool known = name && name->name() != "unknown";  // Postfix says so when DNS does not tell
    return known ? name->name() : std::string(unavailable);
}

std::string helo_of(const client_identity& who) {
    const bool fine = !who.helo.empty() && who.helo.size() <= longest_value &&
                      std::all_of(who.helo.begin(), who.helo.end(), [](char c) {
                          return c > ' ' && static_cast<unsigned char>(c) < 0x7f;
                      });
    return fine ? xtext(who.helo) : std::string(unavailable);
}

std::string address_of(const client_identity& who) {
    return who.address.is_v4() ? who.address.text() : "IPV6:" + who.address.text();
}

std::string command_with(const client_identity& who,
                         const xclient_attributes& offered,
                         const std::string& helo) {
    std::string command = "XCLIENT";
    const auto add = [&](bool is_offered, std::string_view keyword, const std::string& value) {
        if (!is_offered) return;
        command += ' ';
        command += keyword;
        command += '=';
        command += value;
    };
    add(offered.name, "NAME", name_of(who));
    add(offered.addr, "ADDR", address_of(who));
    add(offered.port, "PORT", who.port != 0 ? std::to_string(who.port) : std::string(unavailable));
    add(offered.helo, "HELO", helo);
    // Postfix 3.7 answers PROTO=[UNAVAILABLE] by "501 5.5.4 Bad PROTO syntax".
    add(offered.proto && who.extended, "PROTO", "ESMTP");
    return command;
}

template <class Bytes>
void append(std::string& to, const Bytes& bytes) {
    for (const std::uint8_t byte : bytes) to += static_cast<char>(byte);
}

void append(std::string& to, std::uint16_t number) {
    to += static_cast<char>(number >> 8U);
    to += static_cast<char>(number & 0xffU);
}

}  // namespace

std::string client_identity::key() const {
    // Lengths, so that no part can be taken for another.
    return address.text() + ' ' + std::to_string(port) + ' ' + std::to_string(name.size()) + ':' +
           name + ' ' + std::to_string(helo.size()) + ':' + helo + (extended ? " E" : "");
}

std::optional<std::string> client_identity::helo_argument() const {
    const bool literal = helo.starts_with('[') && helo.ends_with(']') && helo.size() > 2 &&
                         dns::ip_address::parse_literal(helo.substr(1, helo.size() - 2));
    const bool is_name = dns::ascii.contains_all_of(helo) && dns::domain::parse(helo);
    if (!literal && !is_name) return std::nullopt;
    return helo;
}

xclient_attributes parse_xclient(std::string_view words) {
    xclient_attributes offered;
    while (!words.empty()) {
        const auto end = std::min(words.find(' '), words.size());
        const std::string_view word = words.substr(0, end);
        words.remove_prefix(std::min(end + 1, words.size()));
        if (equal_ignoring_case(word, "NAME")) offered.name = true;
        if (equal_ignoring_case(word, "ADDR")) offered.addr = true;
        if (equal_ignoring_case(word, "PORT")) offered.port = true;
        if (equal_ignoring_case(word, "HELO")) offered.helo = true;
        if (equal_ignoring_case(word, "PROTO")) offered.proto = true;
    }
    return offered;
}

std::string xclient_command(const client_identity& who, const xclient_attributes& offered) {
    std::string command = command_with(who, offered, helo_of(who));
    if (command.size() > longest_command) {
        command = command_with(who, offered, std::string(unavailable));
    }
    return command;
}

std::string proxy_header(const std::optional<client_identity>& who,
                         const std::optional<dns::ip_address>& next_hop,
                         std::uint16_t port) {
    constexpr std::string_view signature("\r\n\r\n\0\r\nQUIT\n", 12);
    std::string header(signature);
    if (!who || !next_hop) {
        header += '\x20';  // version 2, LOCAL; of no protocol, no addresses
        header += '\0';
        append(header, std::uint16_t{0});
        return header;
    }
    header += '\x21';  // version 2, PROXY
    std::string addresses;
    if (who->address.is_v4() && next_hop->is_v4()) {
        header += '\x11';  // TCP over IPv4
        append(addresses, who->address.v4());
        append(addresses, next_hop->v4());
    } else {
        header += '\x21';  // TCP over IPv6; an IPv4 address in its mapped form
        append(addresses, who->address.v6());
        append(addresses, next_hop->v6());
    }
    append(addresses, who->port);
    append(addresses, port);
    append(header, static_cast<std::uint16_t>(addresses.size()));
    return header + addresses;
}

}  // namespace callforward::smtpclient
