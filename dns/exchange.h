// One DNS question on the wire and the reply to it: c-ares as transport, in the asio event loop.
//
// Each exchange has a c-ares channel of its own: a fresh source port and random id for every
// question (RFC 5452), no stalled connection shared between questions, and nothing that c-ares
// could call back later. c-ares drops replies from other addresses, with other ids and to other
// questions, asks over TCP after truncation, and goes on to the next server after silence,
// SERVFAIL, REFUSED and NOTIMP. Two tries a server, fitted into the time until the deadline; where
// that is long, the first is waited for 2 s and each further one, of four at most, twice as long as
// the one before. Owner and thread: made, used, stopped and destroyed on the event loop's thread.
#pragma once

#include "dns/message.h"

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace callforward::dns {

class exchange;

struct wire_reply {
    std::vector<std::uint8_t> message;  // empty: none came
    std::string why;  // and this is why: "timeout", "SERVFAIL", "connection refused"
};

class transport {
public:
    // Throws std::runtime_error, with advice, when a server is not understood or c-ares cannot
    // start.
    transport(asio::any_io_executor executor, const std::vector<std::string>& servers);
    transport(const transport&) = delete;
    transport& operator=(const transport&) = delete;
    ~transport() = default;

    // Ends by the deadline. The transport outlives it; see stop().
    [[nodiscard]] asio::awaitable<wire_reply> ask(domain name,
                                                  record_type type,
                                                  std::chrono::steady_clock::time_point deadline);

    // Ends the exchanges under way, and every later one at once, without a reply.
    void stop();

    [[nodiscard]] const asio::any_io_executor& executor() const { return executor_; }
    [[nodiscard]] const std::string& servers() const { return servers_; }  // see server_list.h

private:
    friend class exchange;

    asio::any_io_executor executor_;
    std::string servers_;  // as c-ares takes them: "127.0.0.1:53,[::1]:53"
    std::size_t server_count_ = 0;
    bool stopped_ = false;
    std::set<exchange*> under_way_;
};

}  // namespace callforward::dns
