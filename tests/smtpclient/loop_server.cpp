#include "tests/smtpclient/loop_server.h"

#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/read_until.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#include <algorithm>
#include <deque>
#include <utility>

namespace callforward::testing {

namespace {

using clock = std::chrono::steady_clock;
using asio::ip::tcp;

}  // namespace

struct loop_server::peer {
    explicit peer(tcp::socket connected)
        : socket(std::move(connected)), pause(socket.get_executor()) {}

    struct parcel {
        clock::time_point due;
        std::string bytes;
        session::what then = session::what::go_on;
    };

    void leave(session::what how) {
        std::error_code ignored;
        if (how == session::what::reset)
            socket.set_option(asio::socket_base::linger(true, 0), ignored);
        if (how == session::what::close) socket.shutdown(tcp::socket::shutdown_send, ignored);
        socket.close(ignored);
        seen->over = true;
    }

    tcp::socket socket;
    asio::steady_timer pause;
    std::shared_ptr<session> seen = std::make_shared<session>();
    std::deque<parcel> out;
    bool delivering = false;
    std::chrono::milliseconds latency{0};
};

std::size_t loop_server::session::count(const std::string& verb) const {
    return static_cast<std::size_t>(std::count_if(
        commands.begin(), commands.end(), [&](const auto& c) { return c.starts_with(verb); }));
}

loop_server::loop_server(asio::io_context& loop,
                         answers how,
                         std::chrono::milliseconds latency,
                         const std::string& address,
                         std::uint16_t port)
    : loop_(loop),
      how_(std::move(how)),
      latency_(latency),
      acceptor_(loop, tcp::endpoint(asio::ip::make_address(address), port)),
      address_(address),
      port_(acceptor_.local_endpoint().port()) {
    auto accepting = accept();
    asio::co_spawn(loop_, std::move(accepting), asio::detached);
}

loop_server::~loop_server() {
    for (const auto& s : sessions_) {
        s->say = nullptr;
        s->leave = nullptr;
    }
}

std::string loop_server::hop() const {
    return address_ + ':' + std::to_string(port_);
}

std::size_t loop_server::open_now() const {
    return static_cast<std::size_t>(
        std::count_if(sessions_.begin(), sessions_.end(), [](const auto& s) { return !s->over; }));
}

std::size_t loop_server::recipients() const {
    std::size_t all = 0;
    for (const auto& s : sessions_) all += s->recipients;
    return all;
}

std::size_t loop_server::said_quit() const {
    std::size_t all = 0;
    for (const auto& s : sessions_) all += s->count("QUIT");
    return all;
}

asio::awaitable<void> loop_server::accept() {
    for (;;) {
        std::error_code failed;
        auto token = asio::redirect_error(asio::use_awaitable, failed);
        tcp::socket socket = co_await acceptor_.async_accept(token);
        if (failed) co_return;
        std::error_code ignored;
        socket.set_option(tcp::no_delay(true), ignored);
        const auto p = std::make_shared<peer>(std::move(socket));
        p->latency = latency_;
        p->seen->number = sessions_.size() + 1;
        const std::weak_ptr<peer> weak = p;
        p->seen->say = [this, weak](const std::string& bytes) {
            const auto strong = weak.lock();
            if (!strong || strong->seen->over) return;
            strong->out.push_back({clock::now() + strong->latency, bytes});
            if (std::exchange(strong->delivering, true)) return;
            auto delivery = deliver(strong);
            asio::co_spawn(loop_, std::move(delivery), asio::detached);
        };
        p->seen->leave = [weak](session::what how) {
            if (const auto strong = weak.lock()) strong->leave(how);
        };
        sessions_.push_back(p->seen);
        most_open_ = std::max(most_open_, open_now());
        auto serving = serve(p);
        asio::co_spawn(loop_, std::move(serving), asio::detached);
    }
}

asio::awaitable<void> loop_server::serve(std::shared_ptr<peer> p) {
    session& s = *p->seen;
    std::string unread;
    std::string command;
    std::error_code failed;
    while (!s.over) {
        s.work = {};
        std::string said = how_(s, command);
        const auto then = s.then;
        if (s.work.count() > 0) {
            p->pause.expires_after(s.work);
            auto token = asio::redirect_error(asio::use_awaitable, failed);
            co_await p->pause.async_wait(token);
        }
        if (!said.empty()) ++s.replies;
        p->out.push_back({clock::now() + p->latency, std::move(said), then});
        if (!std::exchange(p->delivering, true)) {
            auto delivery = deliver(p);
            asio::co_spawn(loop_, std::move(delivery), asio::detached);
        }
        if (then != session::what::go_on) co_return;
        auto buffer = asio::dynamic_buffer(unread);
        auto token = asio::redirect_error(asio::use_awaitable, failed);
        const std::size_t n = co_await asio::async_read_until(p->socket, buffer, "\r\n", token);
        if (failed) break;
        command = unread.substr(0, n - 2);
        unread.erase(0, n);
        s.commands.push_back(command);
        if (!p->delivering) ++s.turns;
        if (command.starts_with("RCPT")) ++s.recipients;
    }
    if (!s.over) p->leave(session::what::close);
}

asio::awaitable<void> loop_server::deliver(std::shared_ptr<peer> p) {
    asio::steady_timer due(p->socket.get_executor());
    std::error_code failed;
    while (!p->out.empty() && !p->seen->over) {
        if (p->out.front().due > clock::now()) {
            due.expires_at(p->out.front().due);
            auto token = asio::redirect_error(asio::use_awaitable, failed);
            co_await due.async_wait(token);
        }
        // What is due together goes out together.
        std::string bytes;
        auto then = session::what::go_on;
        const auto now = clock::now();
        while (!p->out.empty() && p->out.front().due <= now && then == session::what::go_on) {
            bytes += p->out.front().bytes;
            then = p->out.front().then;
            p->out.pop_front();
        }
        if (p->seen->over) break;
        const auto buffer = asio::buffer(bytes);
        auto token = asio::redirect_error(asio::use_awaitable, failed);
        co_await asio::async_write(p->socket, buffer, token);
        if (then != session::what::go_on) p->leave(then);
    }
    p->delivering = false;
}

namespace {

std::string mannerly(loop_server::session& s, const std::string& command, bool pipelines) {
    if (command.empty()) return "220 mx.next.test\r\n";
    if (command.starts_with("EHLO")) {
        return pipelines ? "250-mx.next.test\r\n250 PIPELINING\r\n" : "250 mx.next.test\r\n";
    }
    if (command.starts_with("MAIL")) return "250 2.1.0 sender ok\r\n";
    if (command.starts_with("RSET")) return "250 2.0.0 reset\r\n";
    if (command.starts_with("RCPT")) {
        const auto begin = command.find('<') + 1;
        const std::string who = command.substr(begin, command.find('>') - begin);
        if (who.starts_with("known")) return "250 2.1.5 " + who + " ok\r\n";
        if (who.starts_with("later")) return "450 4.2.0 " + who + " not now\r\n";
        return "550 5.1.1 " + who + " unknown\r\n";
    }
    if (command.starts_with("QUIT")) {
        s.then = loop_server::session::what::close;
        return "221 2.0.0 bye\r\n";
    }
    return "500 5.5.1 what\r\n";
}

}  // namespace

std::string pipelining(loop_server::session& s, const std::string& command) {
    return mannerly(s, command, true);
}

std::string one_by_one(loop_server::session& s, const std::string& command) {
    return mannerly(s, command, false);
}

}  // namespace callforward::testing
