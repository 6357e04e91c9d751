// From a connection to a session that may carry transactions: the opening dialogue, driven.
//
// Each reply is waited for by transport.reply_timeout, all of them by the deadline. Bytes beyond
// the replies asked for end the attempt: of a next hop that talks out of turn nothing is believed.
#pragma once

#include "smtpclient/connection.h"
#include "smtpclient/dialogue.h"

#include <asio/awaitable.hpp>

#include <optional>
#include <string>
#include <vector>

namespace callforward::smtpclient {

struct opened {
    std::optional<conclusion> failed;  // nothing: the session is ready
    extensions offered;
    std::vector<std::string> peer_names;  // what the next hop calls itself
};

// c and at, which follows the dialogue's stage, are kept by the caller until the end.
[[nodiscard]] asio::awaitable<opened> open_session(connection& c,
                                                   opening::options options,
                                                   tls_setup tls,
                                                   std::chrono::milliseconds reply_timeout,
                                                   steady_time deadline,
                                                   stage& at);

// What a failure of the connection at this stage means.
[[nodiscard]] conclusion failed_at(stage at, const io_failure& failure);
[[nodiscard]] io_failure unsolicited_reply();

}  // namespace callforward::smtpclient
