// What was learnt of how a host replies, by all of its sessions.
//
// A refused MAIL behind others may be about the session or about us: until a session of its own has
// said the very same often enough, each is asked again in one. A host that answers an accepted
// RCPT twice shifts the replies of a whole batch, and RSET's slot holds a good one all the same:
// none is sent before a session was seen in step behind an accepted recipient. Where RSET fails
// twice in a row, sessions are for one recipient each, and end with QUIT, for ten minutes.
//
// Shared by a host and its sessions, which may outlive it. One event loop thread.
#pragma once

#include "smtpclient/reply.h"

#include <chrono>
#include <cstddef>
#include <map>
#include <string>

namespace callforward::smtpclient {

class reply_habits {
public:
    // Whether a MAIL refused like this need not be asked again. Now and then it is all the same.
    [[nodiscard]] bool stands_by(const reply& refusal);
    // What was refused with these codes was asked again; confirmed: and refused with the same.
    void note_second_answer(const std::string& codes, bool confirmed);

    // Whether many recipients may be in flight in one session.
    [[nodiscard]] bool is_in_step() const { return in_step_; }
    void note_step(bool in_step) { in_step_ = in_step; }

    [[nodiscard]] bool takes_reset(std::chrono::steady_clock::time_point now) const {
        return now >= no_reset_until_;
    }
    void note_reset(bool answered_well, std::chrono::steady_clock::time_point now);

private:
    struct experience {
        std::size_t confirmed = 0;  // in a row
        std::size_t believed = 0;   // since then
    };
    std::map<std::string, experience> refusals_;  // by their codes; bounded
    bool in_step_ = false;
    bool last_reset_failed_ = false;
    std::chrono::steady_clock::time_point no_reset_until_;
};

}  // namespace callforward::smtpclient
