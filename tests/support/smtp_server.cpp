#include "tests/support/smtp_server.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace callforward::testing {

namespace {

constexpr std::size_t longest_line = 64 * 1024;
constexpr auto farewell = std::chrono::seconds(5);  // for the client to leave after our FIN

struct free_ssl {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
};

}  // namespace

struct smtp_server::connection {
    connection(std::uint64_t number, unique_fd fd, bool accept_data)
        : id(number), socket(std::move(fd)), session(accept_data) {}

    std::uint64_t id;
    unique_fd socket;
    next_hop_session session;
    std::unique_ptr<SSL, free_ssl> tls;
    std::string in;
    std::string out;
    next_hop_answer delayed;  // while waiting
    bool waiting = false;     // for the delay of an answer
    bool handshaking = false;
    bool greets = false;       // the greeting follows the handshake
    bool stalled = false;      // what comes is read and forgotten
    bool closing = false;      // after out has been sent
    bool gone = false;         // to be dropped when the current event is done
    std::uint32_t events = 0;  // what epoll was asked for
};

smtp_server::smtp_server(const smtp_server_options& options, smtp_rules rules)
    : rules_(std::move(rules)),
      accept_data_(options.accept_data),
      tls_(server_context(options.identity)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (!epoll_) throw std::system_error(errno, std::generic_category(), "epoll_create1");
    ::signal(SIGPIPE, SIG_IGN);
    if (!options.log.empty()) {
        log_ =
            unique_fd(::open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
        if (!log_) throw std::system_error(errno, std::generic_category(), options.log);
    }
    for (const auto& address : options.listen) listeners_.push_back({listen_on(address), false});
    for (const auto& address : options.listen_smtps)
        listeners_.push_back({listen_on(address), true});
    for (std::size_t i = 0; i < listeners_.size(); ++i) {
        watch(listeners_[i].socket.get(), [this, i] { accept_all(listeners_[i]); });
    }
}

smtp_server::~smtp_server() = default;

std::vector<std::string> smtp_server::addresses() const {
    std::vector<std::string> found;
    for (const auto& each : listeners_) found.push_back(local_address(each.socket));
    return found;
}

void smtp_server::watch(int descriptor, std::function<void()> readable) {
    const std::uint64_t id = next_id_++;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = id;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &event) != 0) {
        throw std::system_error(errno, std::generic_category(), "epoll_ctl");
    }
    watched_[id] = std::move(readable);
}

void smtp_server::run() {
    std::array<epoll_event, 256> events{};
    while (running_) {
        const int n =
            ::epoll_wait(epoll_.get(), events.data(), events.size(), milliseconds_to_timer());
        if (n < 0 && errno != EINTR)
            throw std::system_error(errno, std::generic_category(), "epoll_wait");
        for (int i = 0; i < n; ++i) {
            const auto& event = events.at(static_cast<std::size_t>(i));
            const auto watched = watched_.find(event.data.u64);
            if (watched != watched_.end())
                watched->second();
            else
                handle(event.data.u64, event.events);
        }
        run_timers();
    }
}

void smtp_server::accept_all(const listener& from) {
    while (unique_fd socket = accept_from(from.socket)) {
        const std::uint64_t id = next_id_++;
        epoll_event event{};
        event.data.u64 = id;
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket.get(), &event);
        auto& c =
            *connections_
                 .emplace(id, std::make_unique<connection>(id, std::move(socket), accept_data_))
                 .first->second;
        note("connect");
        if (from.tls) {
            c.greets = true;
            begin_tls(c);
        } else {
            apply(c, c.session.greeting(rules_));
        }
        handle(id, 0);
    }
}

void smtp_server::handle(std::uint64_t id, std::uint32_t events) {
    const auto found = connections_.find(id);
    if (found == connections_.end()) return;  // dropped earlier in this round
    connection& c = *found->second;
    if (c.waiting && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) c.gone = true;
    if (!c.gone && c.handshaking) shake_hands(c);
    if (!c.gone && !c.handshaking && !c.waiting) receive(c);
    if (!c.gone) process(c);
    if (!c.gone) flush(c);
    if (c.gone)
        drop(c);
    else
        set_events(c);
}

void smtp_server::receive(connection& c) {
    std::array<char, 16384> bytes{};
    // Bounded, so that one sender can not keep the others waiting; level-triggered epoll comes
    // back.
    for (int round = 0; round < 8 && c.in.size() <= longest_line; ++round) {
        ssize_t n = 0;
        bool again = false;
        if (c.tls) {
            ERR_clear_error();
            const int got = SSL_read(c.tls.get(), bytes.data(), static_cast<int>(bytes.size()));
            const int error = got > 0 ? SSL_ERROR_NONE : SSL_get_error(c.tls.get(), got);
            again = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
            n = got;
        } else {
            n = ::recv(c.socket.get(), bytes.data(), bytes.size(), 0);
            again = n < 0 && (errno == EAGAIN || errno == EINTR);
        }
        if (again) return;
        if (n <= 0) {
            c.gone = true;
            return;
        }
        if (!c.stalled) c.in.append(bytes.data(), static_cast<std::size_t>(n));
    }
}

void smtp_server::process(connection& c) {
    std::size_t begin = 0;
    while (!c.waiting && !c.handshaking && !c.stalled && !c.closing && !c.gone) {
        const auto end = c.in.find('\n', begin);
        if (end == std::string::npos) break;
        std::string_view line = std::string_view(c.in).substr(begin, end - begin);
        if (line.ends_with('\r')) line.remove_suffix(1);
        const next_hop_answer answer = c.session.line(rules_, line);
        begin = end + 1;
        if (!answer.event.empty()) note(answer.event);
        apply(c, answer);
    }
    c.in.erase(0, std::min(begin, c.in.size()));
    if (!c.waiting && c.in.size() > longest_line) c.gone = true;
}

void smtp_server::apply(connection& c, const next_hop_answer& answer) {
    if (answer.delay.count() > 0) {
        c.delayed = answer;
        c.delayed.delay = {};
        c.waiting = true;
        set_timer(c, answer.delay);
        return;
    }
    c.out += answer.bytes;
    switch (answer.then) {
        case next_hop_answer::what::go_on:
            return;
        case next_hop_answer::what::start_tls:
            flush(c);
            begin_tls(c);
            return;
        case next_hop_answer::what::close:
            c.closing = true;
            return;
        case next_hop_answer::what::stall:
            c.stalled = true;
            return;
        case next_hop_answer::what::reset:
            flush(c);
            close_with_reset(std::exchange(c.socket, unique_fd()));
            c.gone = true;
            return;
    }
}

void smtp_server::begin_tls(connection& c) {
    c.in.clear();  // what came in plain text after STARTTLS counts for nothing
    c.tls.reset(SSL_new(tls_.get()));
    SSL_set_fd(c.tls.get(), c.socket.get());
    SSL_set_mode(c.tls.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    c.handshaking = true;
}

void smtp_server::shake_hands(connection& c) {
    ERR_clear_error();
    const int done = SSL_accept(c.tls.get());
    if (done != 1) {
        const int error = SSL_get_error(c.tls.get(), done);
        c.gone = error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
        return;
    }
    c.handshaking = false;
    c.session.tls_started();
    note("tls");
    if (std::exchange(c.greets, false)) apply(c, c.session.greeting(rules_));
}

void smtp_server::flush(connection& c) {
    while (!c.out.empty() && !c.handshaking) {
        ssize_t n = 0;
        if (c.tls) {
            ERR_clear_error();
            n = SSL_write(c.tls.get(), c.out.data(), static_cast<int>(c.out.size()));
            const int error =
                n > 0 ? SSL_ERROR_NONE : SSL_get_error(c.tls.get(), static_cast<int>(n));
            if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
        } else {
            n = ::send(c.socket.get(), c.out.data(), c.out.size(), MSG_NOSIGNAL);
            if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        }
        if (n <= 0) {
            c.gone = true;
            return;
        }
        c.out.erase(0, static_cast<std::size_t>(n));
    }
    if (!c.closing || c.stalled || !c.out.empty()) return;
    // FIN first, and close when the client has gone: close() with unread bytes would send RST over
    // the last reply.
    if (c.tls) SSL_shutdown(c.tls.get());
    ::shutdown(c.socket.get(), SHUT_WR);
    c.stalled = true;
    set_timer(c, farewell);
}

void smtp_server::set_events(connection& c) {
    std::uint32_t wanted = EPOLLRDHUP;
    if (!c.waiting) wanted |= EPOLLIN;
    if (!c.out.empty() || (c.handshaking && SSL_want_write(c.tls.get()))) wanted |= EPOLLOUT;
    if (wanted == c.events) return;
    c.events = wanted;
    epoll_event event{};
    event.events = wanted;
    event.data.u64 = c.id;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, c.socket.get(), &event);
}

void smtp_server::set_timer(connection& c, std::chrono::milliseconds after) {
    timers_.emplace(clock::now() + after, c.id);
}

int smtp_server::milliseconds_to_timer() const {
    if (timers_.empty()) return -1;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first - clock::now());
    return static_cast<int>(std::clamp<long long>(left.count(), 0, 60 * 1000));
}

void smtp_server::run_timers() {
    while (!timers_.empty() && timers_.begin()->first <= clock::now()) {
        const std::uint64_t id = timers_.begin()->second;
        timers_.erase(timers_.begin());
        const auto found = connections_.find(id);
        if (found == connections_.end()) continue;
        connection& c = *found->second;
        if (std::exchange(c.waiting, false))
            apply(c, std::exchange(c.delayed, {}));
        else
            c.gone = true;  // the farewell is over
        handle(id, 0);
    }
}

void smtp_server::drop(connection& c) {
    note("disconnect");
    connections_.erase(c.id);
}

void smtp_server::note(std::string_view event) {
    if (!log_) return;
    const std::string line = std::string(event) + "\n";
    [[maybe_unused]] const auto written = ::write(log_.get(), line.data(), line.size());
}

}  // namespace callforward::testing
