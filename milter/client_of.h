// Who the client of a RCPT is, as a next hop is told of it by XCLIENT or the PROXY protocol.
#pragma once

#include "milter/envelope.h"
#include "smtpclient/question.h"

#include <optional>

namespace callforward::milter {

// Nothing where a next hop is not to be told, and when the MTA gives no address: the message comes
// from this host itself.
[[nodiscard]] std::optional<smtpclient::client_identity> client_of(const envelope& e,
                                                                   const smtpclient::transport& by);

}  // namespace callforward::milter
