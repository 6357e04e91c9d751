#include "smtpclient/connect.h"

#include "smtpclient/printable.h"

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace callforward::smtpclient {

namespace {

using asio_endpoint = asio::generic::stream_protocol::endpoint;

asio_endpoint to_asio(const endpoint& e) {
    if (!e.socket_path.empty()) return asio::local::stream_protocol::endpoint(e.socket_path);
    if (e.address->is_v4()) {
        return asio::ip::tcp::endpoint(asio::ip::address_v4(e.address->v4()), e.port);
    }
    return asio::ip::tcp::endpoint(asio::ip::address_v6(e.address->v6()), e.port);
}

struct race {
    struct runner {
        stream_socket socket;
        bool running = false;
        bool failed = false;
    };

    explicit race(const asio::any_io_executor& executor) : wake(executor) {}

    asio::steady_timer wake;
    std::vector<runner> runners;
    std::optional<std::size_t> winner;
    std::size_t running = 0;
    std::error_code last_error;
    std::string why;
};

// Nothing for a unix socket, and where the system chooses.
std::error_code bind_to_source(stream_socket& socket, const endpoint& to) {
    std::error_code ec;
    if (!to.from || !to.address) return ec;
    endpoint from;
    from.address = to.from;
    const asio_endpoint source = to_asio(from);
    socket.open(source.protocol(), ec);
    if (ec) return ec;
    // The port is then chosen by connect(), which knows to which peers it is free.
    // Where this fails the port is taken now.
    const int late = 1;
    static_cast<void>(::setsockopt(
        socket.native_handle(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late, sizeof late));
    socket.bind(source, ec);
    return ec;
}

// The race is shared: it ends when somebody has won, while the losers still come home.
asio::awaitable<void> run(std::shared_ptr<race> r, std::size_t which, endpoint to) {
    std::error_code ec;
    auto token = asio::redirect_error(asio::use_awaitable, ec);
    const asio_endpoint target = to_asio(to);
    std::string doing = "connect to " + to.text();
    const std::error_code unbound = bind_to_source(r->runners[which].socket, to);
    if (unbound) {
        ec = unbound;
        doing += " from " + to.from->text();
    } else {
        co_await r->runners[which].socket.async_connect(target, token);
    }
    auto& self = r->runners[which];
    self.running = false;
    --r->running;
    if (!ec && self.socket.is_open() && !r->winner) {
        r->winner = which;
    } else {
        self.failed = true;
        std::error_code ignored;
        self.socket.close(ignored);
        if (ec && ec != asio::error::operation_aborted) {
            r->last_error = ec;
            r->why = doing + ": " + printable(ec.message(), 100);
        }
    }
    r->wake.cancel();
}

connected give_result(race& r, bool timed_out, const endpoint& last) {
    connected result;
    result.timed_out = timed_out;
    for (std::size_t i = 0; i < r.runners.size(); ++i) {
        if (r.winner == i) continue;
        // Who began later than the winner, and has not failed, may still be connected to.
        const bool is_open = r.winner && i > *r.winner && !r.runners[i].failed;
        if (!is_open) result.failed.push_back(i);
        std::error_code ignored;
        r.runners[i].socket.close(ignored);
    }
    if (r.winner) {
        result.which = *r.winner;
        result.socket = std::move(r.runners[*r.winner].socket);
        std::error_code ignored;  // a unix socket has no such option
        result.socket->set_option(asio::ip::tcp::no_delay(true), ignored);
    } else {
        result.without_means = !timed_out && is_lack_of_means(r.last_error);
        result.why = timed_out ? "connect to " + last.text() + ": no answer in time" : r.why;
    }
    return result;
}

}  // namespace

bool is_lack_of_means(const std::error_code& ec) {
    // By number: asio's category knows no std::errc for some of them.
    const int number = ec.value();
    return number == EMFILE || number == ENFILE || number == ENOBUFS || number == ENOMEM;
}

std::string endpoint::text() const {
    if (!socket_path.empty()) return printable(socket_path, 107);
    return address->is_v4() ? address->text() + ':' + std::to_string(port)
                            : '[' + address->text() + "]:" + std::to_string(port);
}

std::vector<dns::ip_address> interleave(const std::vector<dns::ip_address>& addresses) {
    std::vector<dns::ip_address> first;
    std::vector<dns::ip_address> second;
    for (const auto& address : addresses) {
        (address.is_v4() == addresses.front().is_v4() ? first : second).push_back(address);
    }
    std::vector<dns::ip_address> mixed;
    for (std::size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
        if (i < first.size()) mixed.push_back(first[i]);
        if (i < second.size()) mixed.push_back(second[i]);
    }
    return mixed;
}

asio::awaitable<connected> connect_any(std::vector<endpoint> candidates,
                                       std::chrono::milliseconds patience,
                                       steady_time deadline,
                                       std::chrono::milliseconds head_start) {
    const auto executor = co_await asio::this_coro::executor;
    const auto r = std::make_shared<race>(executor);
    // Sized once: runners hold references into it.
    r->runners.reserve(candidates.size());
    steady_time give_up = deadline;
    steady_time start_next = std::chrono::steady_clock::now();
    bool timed_out = false;
    while (!r->winner) {
        const auto now = std::chrono::steady_clock::now();
        const bool more = r->runners.size() < candidates.size();
        timed_out = now >= (more ? deadline : give_up);
        if (timed_out) break;
        const std::size_t which = r->runners.size();
        const bool last_failed = which == 0 || r->runners.back().failed;
        if (more && (last_failed || now >= std::min(start_next, give_up))) {
            r->runners.push_back({stream_socket(executor), true, false});
            ++r->running;
            start_next = now + head_start;
            give_up = std::min(deadline, now + patience);
            auto runner = run(r, which, candidates[which]);
            asio::co_spawn(executor, std::move(runner), asio::detached);
            continue;
        }
        if (r->running == 0) break;
        r->wake.expires_at(more ? std::min(start_next, give_up) : give_up);
        std::error_code ignored;
        auto token = asio::redirect_error(asio::use_awaitable, ignored);
        co_await r->wake.async_wait(token);
    }
    const std::size_t last = r->runners.empty() ? 0 : r->runners.size() - 1;
    co_return give_result(*r, timed_out && !r->winner, candidates[last]);
}

}  // namespace callforward::smtpclient
