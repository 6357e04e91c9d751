// A small HTTP/1.1 server on a listening socket: one request a connection (http_conversation.h), a
// few threads, all bounded.
//
// Who connects while all threads are busy and `waiting` others wait is turned away. So a slow or
// silent client costs a thread for seconds, and nothing else. Threads: responders are called on
// several at once.
#pragma once

#include "milter/control/http_conversation.h"
#include "milter/control/listener.h"

#include <cstdint>
#include <memory>

namespace callforward::milter::control {

class http_server {
public:
    http_server(listener on, const http_limits& limits, responder respond);
    ~http_server();  // waits for the responders under way
    http_server(const http_server&) = delete;
    http_server& operator=(const http_server&) = delete;

    [[nodiscard]] std::uint16_t port() const;
    void remove_path() const;

private:
    class implementation;
    std::unique_ptr<implementation> implementation_;
};

}  // namespace callforward::milter::control
