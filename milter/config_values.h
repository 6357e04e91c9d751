// The words an operator writes, as values: durations, sockets, list entries. Pure; no TOML.
//
// Functions that return a std::string return what is wrong ("" when nothing is) as a phrase that
// continues a sentence about the key, and may put the word into its canonical form.
#pragma once

#include "dns/ip.h"
#include "milter/settings.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace callforward::milter {

// "500ms", "8s", "10m", "24h", "7d": one number and a unit.
[[nodiscard]] std::optional<milliseconds> parse_duration(std::string_view text);
[[nodiscard]] std::string format_duration(milliseconds duration);

// "..." with the word made printable and short.
[[nodiscard]] std::string quoted(std::string_view untrusted);

[[nodiscard]] std::string check_socket(const std::string& text);  // libmilter's syntax, and fd:N
[[nodiscard]] std::optional<unsigned> parse_octal_mode(std::string_view text);
[[nodiscard]] std::string check_helo(std::string& text);
[[nodiscard]] std::string check_dns_server(std::string& text);
struct listen_address {
    dns::ip_address address;
    std::uint16_t port = 0;
};
[[nodiscard]] std::optional<listen_address> parse_listen(std::string_view text);  // "[::1]:9589"
[[nodiscard]] std::string parse_mailer(std::string_view text, mailer_rule& into);

// List entries; each becomes lower case, its domain A-labels.
[[nodiscard]] std::string check_scope_domain(std::string& text);
[[nodiscard]] std::string check_policy_domain(std::string& text);  // "example.com", ".example.com"
[[nodiscard]] std::string check_exempt_recipient(std::string& text);
[[nodiscard]] std::string check_exempt_sender(std::string& text);
[[nodiscard]] std::string check_alias(std::string& text);

}  // namespace callforward::milter
