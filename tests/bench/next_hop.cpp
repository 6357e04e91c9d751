// bench-next-hop: the mail server that is asked, built never to be the bottleneck.
//
//   bench-next-hop --port PORT [--hosts N] [--delay MS] [--certificate PEM --key PEM]
//   [--no-pipelining]
//                  [--dead HOST]
//
// Listens at N addresses (127.0.3.1 onwards). A recipient whose local part begins with 'x' is
// unknown (550 5.1.1), all others exist. --delay is a round trip: whatever is sent, banner and TLS
// flights included, leaves MS after the bytes that caused it came, so that commands that come
// together are answered together. A host numbered HOST lets connections hang unanswered, as one
// does whose machine is off. Says "ready" when it listens; at SIGUSR1 it prints its counters as one
// line of JSON and begins to count anew, at SIGTERM it prints them and ends. One thread.
#include "tests/bench/next_hop_session.h"
#include "tests/bench/poller.h"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace callforward::bench {
namespace {

struct next_hop_options {
    std::uint16_t port = 0;
    unsigned hosts = 1;
    int dead = -1;
    std::chrono::milliseconds delay{0};
    std::string certificate;
    std::string key;
    bool pipelining = true;
};

class next_hop;

class connection final : public handler {
public:
    connection(next_hop& owner, std::uint64_t id, unsigned host, descriptor fd);
    void on_event(std::uint32_t events) override;
    void send_due(clock::time_point now);
    unsigned recipients = 0;  // since the counters were last reset

private:
    friend class next_hop;
    struct chunk {
        clock::time_point due;
        std::string bytes;
    };
    void send(std::string bytes);
    void flush_or_close();

    next_hop& owner_;
    std::uint64_t id_;
    unsigned host_;
    descriptor fd_;
    session session_;
    std::deque<chunk> later_;
    output out_;
    bool wants_out_ = false;
};

class acceptor final : public handler {
public:
    acceptor(next_hop& owner, unsigned host, descriptor fd)
        : owner_(owner), host_(host), fd_(std::move(fd)) {}
    void on_event(std::uint32_t events) override;
    [[nodiscard]] int fd() const { return fd_.get(); }

private:
    next_hop& owner_;
    unsigned host_;
    descriptor fd_;
};

class signals final : public handler {
public:
    signals();
    void on_event(std::uint32_t events) override;
    [[nodiscard]] int fd() const { return fd_.get(); }
    bool report = false;
    bool stop = false;

private:
    descriptor fd_;
};

class next_hop {
public:
    explicit next_hop(const next_hop_options& options);
    void run();

private:
    friend class connection;
    friend class acceptor;
    struct counters {
        std::uint64_t connections = 0;  // opened
        std::uint64_t used = 0;         // closed, and had recipients
        std::uint64_t fewest = UINT64_MAX;
        std::size_t most_at_once = 0;
        unsigned most_at_a_host = 0;
    };
    void opened(unsigned host, descriptor fd);
    void close(connection& c);
    void count(connection& c);
    void report();
    void play_dead(unsigned host);

    next_hop_options options_;
    session_settings settings_;
    poller poller_;
    signals signals_;
    std::vector<std::unique_ptr<acceptor>> acceptors_;
    std::unordered_map<std::uint64_t, std::unique_ptr<connection>> connections_;
    std::vector<std::unique_ptr<connection>> graveyard_;
    std::deque<std::pair<clock::time_point, std::uint64_t>> due_;  // one delay: in order of time
    std::vector<unsigned> at_host_;
    std::vector<descriptor> unanswered_;
    std::uint64_t last_id_ = 0;
    counters counted_;
    session_counters sessions_;
};

connection::connection(next_hop& owner, std::uint64_t id, unsigned host, descriptor fd)
    : owner_(owner),
      id_(id),
      host_(host),
      fd_(std::move(fd)),
      session_(owner.settings_, owner.sessions_) {}

void connection::send(std::string bytes) {
    if (bytes.empty()) return;
    if (owner_.options_.delay.count() == 0) {
        if (!out_.write(fd_.get(), bytes)) session_.end();
        return;
    }
    const auto due = clock::now() + owner_.options_.delay;
    later_.push_back({due, std::move(bytes)});
    owner_.due_.emplace_back(due, id_);
}

void connection::send_due(clock::time_point now) {
    while (!later_.empty() && later_.front().due <= now) {
        if (!out_.write(fd_.get(), later_.front().bytes)) session_.end();
        later_.pop_front();
    }
    flush_or_close();
}

void connection::flush_or_close() {
    if (session_.ended() && out_.empty() && later_.empty()) {
        owner_.close(*this);
        return;
    }
    if (out_.empty() == wants_out_) {
        wants_out_ = !out_.empty();
        owner_.poller_.change(fd_.get(), *this, wants_out_ ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

void connection::on_event(std::uint32_t events) {
    if ((events & EPOLLOUT) != 0 && !out_.flush(fd_.get())) {
        owner_.close(*this);
        return;
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        static std::vector<char> buffer(std::size_t{64} * 1024);
        const ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
            owner_.close(*this);
            return;
        }
        if (got > 0) {
            const auto before = session_.recipients();
            send(session_.received({buffer.data(), static_cast<std::size_t>(got)}));
            recipients += session_.recipients() - before;
        }
    }
    flush_or_close();
}

void acceptor::on_event(std::uint32_t /*events*/) {
    for (int i = 0; i < 64; ++i) {
        descriptor fd(accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!fd.open()) return;
        owner_.opened(host_, std::move(fd));
    }
}

signals::signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&set, number);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    fd_ = descriptor(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    if (!fd_.open()) fail("signalfd");
}

void signals::on_event(std::uint32_t /*events*/) {
    signalfd_siginfo info{};
    while (::read(fd_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
        report = true;
        if (info.ssi_signo != SIGUSR1) stop = true;
    }
}

next_hop::next_hop(const next_hop_options& options) : options_(options), at_host_(options.hosts) {
    settings_.pipelining = options.pipelining;
    if (!options.certificate.empty()) {
        settings_.tls = server_context(options.certificate, options.key);
    }
    for (unsigned host = 0; host < options.hosts; ++host) {
        if (static_cast<int>(host) == options.dead) {
            play_dead(host);
            continue;
        }
        auto fd = listen_at(host_address(host), options.port, 4096);
        acceptors_.push_back(std::make_unique<acceptor>(*this, host, std::move(fd)));
        poller_.add(acceptors_.back()->fd(), *acceptors_.back(), EPOLLIN);
    }
    poller_.add(signals_.fd(), signals_, EPOLLIN);
}

// A listener whose queue is full leaves further SYNs unanswered.
void next_hop::play_dead(unsigned host) {
    unanswered_.push_back(listen_at(host_address(host), options_.port, 0));
    for (int i = 0; i < 3; ++i) {
        unanswered_.push_back(
            connect_to(dotted(host_address(host)) + ':' + std::to_string(options_.port)));
    }
}

void next_hop::opened(unsigned host, descriptor fd) {
    const std::uint64_t id = ++last_id_;
    auto made = std::make_unique<connection>(*this, id, host, std::move(fd));
    connection& c = *made;
    connections_.emplace(id, std::move(made));
    poller_.add(c.fd_.get(), c, EPOLLIN);
    ++counted_.connections;
    counted_.most_at_once = std::max(counted_.most_at_once, connections_.size());
    counted_.most_at_a_host = std::max(counted_.most_at_a_host, ++at_host_[host]);
    c.send(c.session_.greeting());
}

void next_hop::count(connection& c) {
    if (c.recipients == 0) return;
    ++counted_.used;
    counted_.fewest = std::min<std::uint64_t>(counted_.fewest, c.recipients);
    c.recipients = 0;
}

void next_hop::close(connection& c) {
    const auto found = connections_.find(c.id_);
    if (found == connections_.end()) return;
    poller_.remove(c.fd_.get(), c);
    c.fd_.reset();
    count(c);
    --at_host_[c.host_];
    graveyard_.push_back(std::move(found->second));
    connections_.erase(found);
}

void next_hop::report() {
    for (auto& [id, each] : connections_) count(*each);
    const auto average = counted_.used == 0 ? 0.0
                                            : static_cast<double>(sessions_.recipients) /
                                                  static_cast<double>(counted_.used);
    std::printf(
        "{\"connections\":%llu,\"max_concurrent\":%zu,\"max_concurrent_host\":%u,"
        "\"recipients\":%llu,\"refused\":%llu,\"used_connections\":%llu,"
        "\"recipients_per_connection_min\":%llu,\"recipients_per_connection_avg\":%.2f,"
        "\"handshakes\":%llu,\"bad_commands\":%llu,\"cpu\":%.3f}\n",
        static_cast<unsigned long long>(counted_.connections),
        counted_.most_at_once,
        counted_.most_at_a_host,
        static_cast<unsigned long long>(sessions_.recipients),
        static_cast<unsigned long long>(sessions_.refused),
        static_cast<unsigned long long>(counted_.used),
        static_cast<unsigned long long>(counted_.used == 0 ? 0 : counted_.fewest),
        average,
        static_cast<unsigned long long>(sessions_.handshakes),
        static_cast<unsigned long long>(sessions_.bad_commands),
        cpu_seconds());
    std::fflush(stdout);
    counted_ = {};
    counted_.most_at_once = connections_.size();
    counted_.most_at_a_host = *std::max_element(at_host_.begin(), at_host_.end());
    sessions_ = {};
}

void next_hop::run() {
    std::puts("ready");
    std::fflush(stdout);
    while (!signals_.stop) {
        poller_.wait(due_.empty() ? clock::now() + std::chrono::seconds(1) : due_.front().first);
        const auto now = clock::now();
        while (!due_.empty() && due_.front().first <= now) {
            const auto found = connections_.find(due_.front().second);
            due_.pop_front();
            if (found != connections_.end()) found->second->send_due(now);
        }
        graveyard_.clear();
        if (signals_.report) report();
        signals_.report = false;
    }
}

next_hop_options parse(int argc, char** argv) {
    next_hop_options options;
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        if (name == "--no-pipelining") {
            options.pipelining = false;
            continue;
        }
        if (++i >= argc) throw std::runtime_error(name + " needs a value");
        const std::string value = argv[i];
        if (name == "--port")
            options.port = static_cast<std::uint16_t>(std::stoul(value));
        else if (name == "--hosts")
            options.hosts = static_cast<unsigned>(std::clamp(std::stoul(value), 1UL, 10000UL));
        else if (name == "--dead")
            options.dead = std::stoi(value);
        else if (name == "--delay")
            options.delay = std::chrono::milliseconds(std::stoul(value));
        else if (name == "--certificate")
            options.certificate = value;
        else if (name == "--key")
            options.key = value;
        else
            throw std::runtime_error("unknown option " + name);
    }
    if (options.port == 0) throw std::runtime_error("--port is missing");
    return options;
}

}  // namespace
}  // namespace callforward::bench

int main(int argc, char** argv) {
    try {
        std::signal(SIGPIPE, SIG_IGN);
        rlimit limit{};
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
            limit.rlim_cur = limit.rlim_max;
            setrlimit(RLIMIT_NOFILE, &limit);
        }
        callforward::bench::next_hop server(callforward::bench::parse(argc, argv));
        server.run();
        return 0;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "bench-next-hop: %s\n", e.what());
        return 1;
    }
}
