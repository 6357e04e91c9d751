// A validated domain name: what may be asked of DNS, and nothing else.
//
// parse() accepts any letter case, one trailing dot, and U-labels in UTF-8, which become A-labels
// (IDNA2008, libidn2). The value is lower case, without trailing dot, at most 253 bytes in labels
// of 1 to 63 (RFC 1035 section 2.3.4), each of letters, digits, hyphen and underscore. The root, an
// address, control bytes and blanks are no domain.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

namespace callforward::dns {

class domain {
public:
    [[nodiscard]] static std::optional<domain> parse(std::string_view untrusted);
    // The same, in the memory that `into` has: for those who parse a name with each RCPT.
    static void parse_into(std::optional<domain>& into, std::string_view untrusted);

    [[nodiscard]] const std::string& name() const { return name_; }
    // The name without its first label: "b.example" of "a.b.example"; nothing for a single label.
    [[nodiscard]] std::optional<domain> parent() const;

    auto operator<=>(const domain&) const = default;

private:
    explicit domain(std::string name) : name_(std::move(name)) {}
    std::string name_;
};

// The text of a domain as parse() would make it; false, and the text of no use, where there is
// none.
[[nodiscard]] bool assign_name(std::string& name, std::string_view untrusted);

}  // namespace callforward::dns
