// What `callforward explain` asks about, as an envelope that the MTA might have sent. Pure.
#pragma once

#include "milter/envelope.h"
#include "milter/story.h"

#include <optional>
#include <string>
#include <string_view>

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

// The route of a decision, as its log line has it, in the words of an MTA; nothing for what those
// have no words for, and for several hops.
[[nodiscard]] std::optional<std::string> mta_route_of(std::string_view route,
                                                      std::string_view domain);
// Where the MTA's word decides and nobody has given it: it was assumed, or is that of an earlier
// decision, whose id is given.
void tell_whence_route(const explain_request& r, const std::string& decision_id, story& told);

}  // namespace callforward::milter
