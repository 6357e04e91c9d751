// What a next hop offers, from its reply to EHLO or LHLO (RFC 5321 section 4.1.1.1).
//
// Keywords are compared without case. Of a keyword that comes twice the first counts; at most the
// reply's 128 lines are there to be read. Only what the dialogue uses is kept.
#pragma once

#include "smtpclient/client_identity.h"
#include "smtpclient/reply.h"

#include <cstdint>
#include <optional>

namespace callforward::smtpclient {

struct extensions {
    bool pipelining = false;            // RFC 2920
    bool starttls = false;              // RFC 3207
    bool eight_bit_mime = false;        // RFC 6152
    bool binary_mime = false;           // RFC 3030
    bool smtputf8 = false;              // RFC 6531
    std::optional<std::uint64_t> size;  // RFC 1870; 0: offered without a limit
    bool auth_plain = false;            // RFC 4954, 4616
    bool auth_login = false;
    xclient_attributes xclient;  // Postfix' XCLIENT_README

    bool operator==(const extensions&) const = default;
};

[[nodiscard]] extensions parse_extensions(const reply& to_ehlo);

}  // namespace callforward::smtpclient
