// What `callforward explain` asks about, as an envelope that the MTA might have sent. Pure.
#pragma once

#include "milter/envelope.h"

#include <optional>
#include <string>

namespace callforward::milter {

struct explain_request {  // untrusted
    std::string rcpt{};
    std::string from{};       // "" or "<>": the null sender
    std::string client{};     // "": an address that no list holds by default
    std::string mta_route{};  // "MAILER:HOST", as the MTA names them; "": what a relay would say
    bool dry = false;
};

// Nothing, and what to do, when it cannot be asked.
[[nodiscard]] std::optional<envelope> envelope_of(const explain_request& r, std::string& problem);

}  // namespace callforward::milter
