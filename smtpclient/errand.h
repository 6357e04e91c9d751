// A question on its way through a host's queue and sessions.
//
// Shared by the asker, who may leave at the question's deadline, the queue, and the session that
// carries it: each may be the last to hold it. Answered once; who answers later is not heard. One
// event loop thread.
#pragma once

#include "smtpclient/question.h"
#include "smtpclient/verdict.h"

#include <asio/steady_timer.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace callforward::smtpclient {

struct host_answer {
    smtpclient::verdict verdict;
    bool is_self = false;            // the host has an address of this one
    bool no_addresses = false;       // DNS says for certain that it has none
    bool is_wrong_name = false;      // a certificate for another name was all that was wrong
    std::size_t attempts = 0;        // connections tried for it in vain
    std::vector<std::string> names;  // names and addresses of the next hop
};

struct errand {
    errand(const asio::any_io_executor& executor, std::shared_ptr<const question> q)
        : whole(std::move(q)),
          asked(*whole),
          owner(session_owner(asked)),
          answered(executor, asked.deadline) {}

    void give(host_answer a) {
        if (answer) return;
        answer = std::move(a);
        answered.cancel();
    }
    [[nodiscard]] bool is_over() const { return answer.has_value() || abandoned; }

    const std::shared_ptr<const question> whole;  // shared with the asker
    const question& asked;
    const std::string owner;  // of the session that may carry it
    const std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();
    std::optional<host_answer> answer;
    asio::steady_timer answered;  // waited for by the asker; ends at the deadline
    bool abandoned = false;       // the asker has left
    // Once, in a session of its own: the one it shared broke, or wanted no more recipients.
    bool asked_again = false;
    std::string mail_refused;    // "550 5.7.1": why it is asked again; "" when for something else
    bool heard_opening = false;  // its trace was told how a session was opened, as it happened
};

}  // namespace callforward::smtpclient
