// The seam between those who ask (milter, tool, library) and the call-forward.
//
// verify() completes by q.deadline, never throws because of what a network or peer did, and runs on
// the event loop that the implementation was made for.
#pragma once

#include "smtpclient/question.h"
#include "smtpclient/verdict.h"

#include <asio/awaitable.hpp>

namespace callforward::smtpclient {

class verifier {
public:
    verifier() = default;
    verifier(const verifier&) = delete;
    verifier& operator=(const verifier&) = delete;
    virtual ~verifier() = default;

    [[nodiscard]] virtual asio::awaitable<verdict> verify(question q) = 0;
};

}  // namespace callforward::smtpclient
