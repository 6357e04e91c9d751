// DANE: the TLSA records of a host looked up, and what they make of the plan for its connections.
//
// TLSA counts only where DNSSEC vouches for the MX record, if one led to the host, and for the
// addresses. A look-up that fails is a fault, because an attacker can make it fail; so is anything
// less than usable records under dane-only. Otherwise: no records, and the level is may; none
// usable, and it is encrypt.
#pragma once

#include "dns/resolver.h"
#include "smtpclient/question.h"
#include "smtpclient/tls_plan.h"

#include <asio/awaitable.hpp>

#include <string>

namespace callforward::smtpclient {

// The plan changed by what DANE says, where the level lets it. The resolver is kept by the caller
// until the end; observer may be empty.
[[nodiscard]] asio::awaitable<tls_plan> plan_dane(dns::resolver& resolver,
                                                  tls_plan plan,
                                                  target t,
                                                  bool secure_addresses,
                                                  std::string canonical,
                                                  trace observer);

}  // namespace callforward::smtpclient
