// The call of INTERFACE section 1 as a library function: may this address be delivered to, and if
// not, why?
//
// Blocking; makes and runs an event loop of its own and needs no daemon. Thread: any, each call for
// itself. Ends within `timeout` (and a few milliseconds), with an undetermined verdict if nothing
// better is known by then.
#pragma once

#include "smtpclient/question.h"
#include "smtpclient/verdict.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace callforward::smtpclient {

struct query_options {
    std::string rcptto;    // needed
    std::string mailfrom;  // "" or "<>": the null sender
    std::string
        host;  // as in a route (next_hop.h), or "unix:/path"; "": MX of the recipient's domain
    std::uint16_t port = 0;                    // 0: 25; 24 for LMTP
    std::chrono::milliseconds timeout{60000};  // the whole call
    std::string helo;                          // "": this host's name
    bool lmtp = false;
    tls_policy tls;
    std::vector<std::string> source_address;  // ours: at most one of each family
    smtpclient::trace trace;
};

struct query_result {
    smtpclient::verdict verdict;
    std::chrono::milliseconds elapsed{0};
};

// Throws std::invalid_argument, naming the argument and what it should be, when there is nothing
// that could be asked.
[[nodiscard]] query_result query(const query_options& options);

// The options checked, for those who ask on an event loop of their own. Throws like query().
struct prepared_query {
    std::optional<question> ask;
    smtpclient::verdict answer;  // where nobody needs to be asked
};
[[nodiscard]] prepared_query prepare(const query_options& options);

}  // namespace callforward::smtpclient
