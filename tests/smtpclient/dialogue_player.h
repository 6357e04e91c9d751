// Plays a script against the dialogues themselves: no socket, no clock, no thread.
//
// The bytes of the S: steps go through the reply parser to `opening` and `transaction`, whose
// commands are compared with the C: steps; what only a socket can do (CLOSE, STALL, a handshake) is
// judged by at(), as session.cpp does. Stricter than the loopback server: a command that was sent
// before the script has come to it is a mismatch.
#pragma once

#include "tests/smtpclient/script_question.h"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace callforward::testing {

struct dialogue_play {
    bool byte_by_byte = false;  // the client acts after each byte, not only when all have come
    std::optional<std::size_t> cut_after;  // FIN after so many steps
    // The server hangs up at a command that is not its script's, instead of going on regardless.
    bool hang_up_at_mismatch = false;
    struct injection {
        std::size_t after = 0;  // so many steps
        std::string bytes;
    };
    std::optional<injection> inject;
};

struct dialogue_result {
    std::string words;  // "undetermined disconnected rcpt"; of the last connection
    std::vector<std::string> mismatches;
    bool surplus = false;  // ended by bytes that no command explains
    std::size_t connections = 1;
};

[[nodiscard]] dialogue_result play(const script& s, const dialogue_play& how = {});

}  // namespace callforward::testing
