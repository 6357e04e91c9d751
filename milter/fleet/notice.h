// One message between edges over the shared store's channel, and its text. Pure.
//
// "1 EDGE KIND SECONDS NAME", at most 2 KiB. Messages are untrusted: unknown kinds, another format,
// an edge without a name or with one longer than 64 bytes, and more than a day are nothing. A name
// is whatever it is: who hears it parses it as a mailbox or a domain.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace callforward::milter::fleet {

struct notice {
    enum class kind : std::uint8_t {
        forget,
        forget_domain,
        forget_all,
        exists,
        refused,  // a recipient that was deliverable: the others count it for their interlocks
        closed,   // an interlock, for `seconds` from now on
        open,
    };
    kind what;
    std::string edge;  // who tells
    unsigned seconds = 0;
    std::string name;  // a mailbox or a domain
};

[[nodiscard]] std::string to_text(const notice& n);
[[nodiscard]] std::optional<notice> parse_notice(std::string_view untrusted);

}  // namespace callforward::milter::fleet
