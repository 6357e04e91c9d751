// A next hop in the event loop of the test itself: any number of sessions, replies as a function
// says, and a network that takes its time.
//
// Commands are answered one after the other, as a real server's process does; `work` is the time
// that an answer takes it, `latency` what every reply is late by on the wire, whatever else is
// under way. One event loop thread, which must not run when the server is gone.
#pragma once

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace callforward::testing {

class loop_server {
public:
    struct session {
        std::size_t number = 0;             // from 1, in the order of their coming
        std::size_t recipients = 0;         // RCPT commands, this one included
        std::size_t replies = 0;            // given so far; the greeting is one
        std::size_t turns = 0;              // commands that came when all replies had been sent
        std::vector<std::string> commands;  // without line end
        bool over = false;

        // What the answer may set for itself.
        std::chrono::milliseconds work{0};
        enum class what { go_on, close, reset };
        what then = what::go_on;  // after the reply

        std::function<void(const std::string&)> say;  // unasked
        std::function<void(what)> leave;

        [[nodiscard]] std::size_t count(const std::string& verb) const;
    };
    // The reply, with line ends; "" is none. The greeting is the answer to "".
    using answers = std::function<std::string(session&, const std::string& command)>;

    explicit loop_server(asio::io_context& loop,
                         answers how,
                         std::chrono::milliseconds latency = {},
                         const std::string& address = "127.0.0.1",
                         std::uint16_t port = 0);
    ~loop_server();
    loop_server(const loop_server&) = delete;
    loop_server& operator=(const loop_server&) = delete;

    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] std::string hop() const;
    [[nodiscard]] const std::vector<std::shared_ptr<session>>& sessions() const {
        return sessions_;
    }
    [[nodiscard]] std::size_t open_now() const;
    [[nodiscard]] std::size_t most_open() const { return most_open_; }
    [[nodiscard]] std::size_t recipients() const;  // of all sessions
    [[nodiscard]] std::size_t said_quit() const;   // sessions

private:
    struct peer;
    asio::awaitable<void> accept();
    asio::awaitable<void> serve(std::shared_ptr<peer> p);
    static asio::awaitable<void> deliver(std::shared_ptr<peer> p);

    asio::io_context& loop_;
    answers how_;
    std::chrono::milliseconds latency_;
    asio::ip::tcp::acceptor acceptor_;
    std::string address_;
    std::uint16_t port_;
    std::vector<std::shared_ptr<session>> sessions_;
    std::size_t most_open_ = 0;
};

// Offers PIPELINING, or not. Recipients whose name begins with "known", "later" or anything else
// get 250, 450 or 550, with the address in the text.
[[nodiscard]] std::string pipelining(loop_server::session& s, const std::string& command);
[[nodiscard]] std::string one_by_one(loop_server::session& s, const std::string& command);

}  // namespace callforward::testing
