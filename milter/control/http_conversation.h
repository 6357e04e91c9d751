// One request over one accepted connection, answered: HTTP/1.1 as far as our own clients speak it.
// The only user of an HTTP server library, with connection_stream.
//
// A request's head (at most 8 KiB) must be here in whole within `patience`, before the library sees
// a byte of it; a body within the same time again, no longer than `body`, with its length told in
// the head: 411 or 415 without reading it where it is in chunks or packed. A response is written
// within `patience` too. What a responder throws becomes a 500. Threads: have() on several at once.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace callforward::milter::control {

struct peer {
    std::string address;        // of a TCP client
    std::optional<uid_t> user;  // of a client on this machine, by SO_PEERCRED
    pid_t process = 0;
};

struct http_request {    // untrusted
    std::string method;  // "GET" (HEAD, too) or "POST"
    std::string path;
    std::map<std::string, std::string> parameters;
    std::string body;
    peer from;
};

struct http_response {
    int status = 200;
    std::string body;
    std::string type = "application/json";
};

using responder = std::function<http_response(const http_request&)>;

struct http_limits {
    std::size_t body = 0;  // 0: POST is refused
    unsigned threads = 4;
    std::size_t waiting = 32;
    std::chrono::milliseconds patience{5000};
};

class http_conversation {
public:
    http_conversation(const http_limits& limits, responder respond);
    ~http_conversation();
    http_conversation(const http_conversation&) = delete;
    http_conversation& operator=(const http_conversation&) = delete;

    void have(int descriptor) const noexcept;  // closes it

private:
    class parser;
    std::unique_ptr<parser> parser_;
    std::chrono::milliseconds patience_;
};

}  // namespace callforward::milter::control
