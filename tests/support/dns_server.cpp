#include "tests/support/dns_server.h"

#include "tests/support/dns_wire.h"

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

namespace callforward::test {

namespace {

using steady = std::chrono::steady_clock;
using packet = std::vector<std::uint8_t>;

[[noreturn]] void fail(const std::string& what) {
    throw std::runtime_error(what + ": " + std::strerror(errno));
}

class descriptor {
public:
    explicit descriptor(int fd) : fd_(fd) {
        if (fd < 0) fail("socket");
    }
    descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    descriptor& operator=(descriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~descriptor() {
        if (fd_ >= 0) close(fd_);
    }
    [[nodiscard]] int get() const { return fd_; }

private:
    int fd_;
};

struct endpoint {
    sockaddr_storage storage{};
    socklen_t size = sizeof(sockaddr_storage);

    [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
    [[nodiscard]] std::pair<std::string, std::string> host_and_port() {
        std::array<char, NI_MAXHOST> host{};
        std::array<char, NI_MAXSERV> port{};
        getnameinfo(get(),
                    size,
                    host.data(),
                    host.size(),
                    port.data(),
                    port.size(),
                    NI_NUMERICHOST | NI_NUMERICSERV);
        return {host.data(), port.data()};
    }
};

endpoint parse_endpoint(const std::string& text) {
    const auto colon = text.rfind(':');
    if (colon == std::string::npos) throw std::runtime_error("address without port: " + text);
    std::string host = text.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    addrinfo hints{};
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_DGRAM;
    addrinfo* found = nullptr;
    if (getaddrinfo(host.c_str(), text.substr(colon + 1).c_str(), &hints, &found) != 0)
        throw std::runtime_error("not an address: " + text);
    endpoint out;
    std::memcpy(&out.storage, found->ai_addr, found->ai_addrlen);
    out.size = found->ai_addrlen;
    freeaddrinfo(found);
    return out;
}

struct connection {
    descriptor socket;
    packet received;
};

struct delayed {
    packet bytes;
    int connection = -1;  // or UDP
    endpoint to;
};

}  // namespace

class dns_server::implementation {
public:
    implementation(std::string_view zone, const std::string& listen)
        : zone_(parse_dns_zone(zone)),
          wake_(eventfd(0, EFD_CLOEXEC)),
          udp_(socket(parse_endpoint(listen).storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
          tcp_(socket(parse_endpoint(listen).storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        bind_both(listen);
        thread_ = std::thread([this] { run(); });
    }
    ~implementation() {
        stopping_ = true;
        eventfd_write(wake_.get(), 1);
        thread_.join();
    }

    void set(std::string_view text) {
        dns_zone zone = parse_dns_zone(text);
        const std::lock_guard lock(mutex_);
        zone_ = std::move(zone);
    }
    std::size_t questions(std::string_view name, std::string_view type) const {
        const std::lock_guard lock(mutex_);
        const auto at = counts_.find({lower_name(name), std::string(type)});
        return at == counts_.end() ? 0 : at->second;
    }
    std::size_t questions() const {
        const std::lock_guard lock(mutex_);
        std::size_t sum = 0;
        for (const auto& [key, count] : counts_) sum += count;
        return sum;
    }

    endpoint bound_;
    std::atomic<std::size_t> with_ad_and_edns_ = 0;

private:
    void bind_both(const std::string& listen);
    void run();
    [[nodiscard]] int milliseconds_to_next() const;
    void send_due();
    void send(const delayed& what);
    void read_udp();
    void accept_tcp();
    bool read_tcp(int fd);
    bool answer(const packet& query, const delayed& reply);
    void answer_marks(const dns_name& mark,
                      unsigned type,
                      const packet& right,
                      const delayed& reply);
    void later(const dns_name& mark, delayed reply, packet bytes);

    mutable std::mutex mutex_;  // zone_ and counts_
    dns_zone zone_;
    std::map<std::pair<std::string, std::string>, std::size_t> counts_;

    descriptor wake_;
    descriptor udp_;
    descriptor tcp_;
    std::map<int, connection> connections_;
    std::multimap<steady::time_point, delayed> due_;
    std::atomic<bool> stopping_ = false;
    std::thread thread_;
};

// One port for both: where TCP finds the kernel's choice for UDP taken, another is tried.
void dns_server::implementation::bind_both(const std::string& listen) {
    const endpoint wanted = parse_endpoint(listen);
    for (int tries = 0;; ++tries) {
        endpoint at = wanted;
        if (bind(udp_.get(), at.get(), at.size) != 0) fail("bind " + listen);
        if (getsockname(udp_.get(), at.get(), &at.size) != 0) fail("getsockname");
        const int on = 1;
        setsockopt(tcp_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        bound_ = at;
        if (bind(tcp_.get(), at.get(), at.size) == 0 && ::listen(tcp_.get(), 16) == 0) return;
        if (tries == 20) fail("bind " + listen);
        udp_ = descriptor(socket(wanted.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    }
}

void dns_server::implementation::run() {
    while (!stopping_) {
        std::vector<pollfd> polled = {
            {wake_.get(), POLLIN, 0}, {udp_.get(), POLLIN, 0}, {tcp_.get(), POLLIN, 0}};
        for (const auto& [fd, c] : connections_) polled.push_back({fd, POLLIN, 0});
        poll(polled.data(), polled.size(), milliseconds_to_next());
        if (stopping_) return;
        send_due();
        if (polled[1].revents != 0) read_udp();
        for (std::size_t i = 3; i < polled.size(); ++i)
            if (polled[i].revents != 0 && !read_tcp(polled[i].fd)) connections_.erase(polled[i].fd);
        if (polled[2].revents != 0) accept_tcp();
    }
}

int dns_server::implementation::milliseconds_to_next() const {
    if (due_.empty()) return -1;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(due_.begin()->first - steady::now());
    return static_cast<int>(std::max<std::chrono::milliseconds::rep>(left.count(), 0));
}

void dns_server::implementation::send_due() {
    while (!due_.empty() && due_.begin()->first <= steady::now()) {
        send(due_.begin()->second);
        due_.erase(due_.begin());
    }
}

void dns_server::implementation::send(const delayed& what) {
    if (what.connection < 0) {
        endpoint to = what.to;
        sendto(udp_.get(), what.bytes.data(), what.bytes.size(), MSG_NOSIGNAL, to.get(), to.size);
    } else if (connections_.contains(what.connection)) {
        dns_writer framed;
        framed.u16(static_cast<unsigned>(what.bytes.size())).raw(what.bytes);
        ::send(what.connection, framed.bytes().data(), framed.bytes().size(), MSG_NOSIGNAL);
    }
}

void dns_server::implementation::read_udp() {
    packet query(65535);
    delayed reply;
    const ssize_t size = recvfrom(
        udp_.get(), query.data(), query.size(), MSG_DONTWAIT, reply.to.get(), &reply.to.size);
    if (size < 0) return;
    query.resize(static_cast<std::size_t>(size));
    answer(query, reply);
}

void dns_server::implementation::accept_tcp() {
    const int fd = accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) connections_.emplace(fd, connection{descriptor(fd), {}});
}

// False when the connection is to be closed.
bool dns_server::implementation::read_tcp(int fd) {
    packet& received = connections_.at(fd).received;
    std::array<std::uint8_t, 4096> buffer{};
    const ssize_t size = recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size <= 0) return false;
    received.insert(received.end(), buffer.begin(), buffer.begin() + size);
    while (received.size() >= 2) {
        const std::ptrdiff_t length = received[0] << 8U | received[1];
        if (std::ssize(received) < 2 + length) break;
        const packet query(received.begin() + 2, received.begin() + 2 + length);
        received.erase(received.begin(), received.begin() + 2 + length);
        delayed reply;
        reply.connection = fd;
        if (!answer(query, reply)) return false;
    }
    return true;
}

// False when a TCP connection is to be closed.
bool dns_server::implementation::answer(const packet& query, const delayed& reply) {
    const std::optional<dns_question> question = read_dns_question(query);
    if (!question) return false;
    const bool over_tcp = reply.connection >= 0;
    const std::lock_guard lock(mutex_);
    ++counts_[{question->name, dns_type_name(question->type)}];
    if (question->wants_ad && question->edns) ++with_ad_and_edns_;
    const packet right = dns_reply(zone_, query, *question, over_tcp);
    const auto at = zone_.find(question->name);
    static const dns_name unlisted;
    const dns_name& mark = at == zone_.end() ? unlisted : at->second;
    const auto marked = [&](const char* verb) { return has_mark(mark, verb, question->type); };
    if (marked("TIMEOUT")) return true;
    if (over_tcp && marked("TCPCLOSE")) return false;
    if (over_tcp && marked("TCPSTALL")) return true;
    if (over_tcp && marked("TCPSHORT")) {
        dns_writer framed;
        framed.u16(static_cast<unsigned>(right.size()))
            .raw(std::span(right).first(right.size() / 2));
        ::send(reply.connection, framed.bytes().data(), framed.bytes().size(), MSG_NOSIGNAL);
        return false;
    }
    answer_marks(mark, question->type, right, reply);
    return true;
}

// The right answer, and what the name wants to be sent besides.
void dns_server::implementation::answer_marks(const dns_name& mark,
                                              unsigned type,
                                              const packet& right,
                                              const delayed& reply) {
    const auto marked = [&](const char* verb) { return has_mark(mark, verb, type); };
    if (marked("EMPTY")) return later(mark, reply, {});
    if (marked("WRONGID")) {
        packet forged = right;
        forged[1] ^= 0x55U;
        forged[3] = static_cast<std::uint8_t>((forged[3] & 0xf0U) | 3U);  // NXDOMAIN
        later(mark, reply, forged);
    }
    if (marked("WRONGQUESTION")) {
        packet forged = right;
        forged[13] ^= 0x01U;  // the first letter of the name
        later(mark, reply, forged);
    }
    if (marked("DUPLICATE")) later(mark, reply, right);
    later(mark, reply, right);
}

void dns_server::implementation::later(const dns_name& mark, delayed reply, packet bytes) {
    reply.bytes = std::move(bytes);
    if (mark.delay_ms == 0) return send(reply);
    due_.emplace(steady::now() + std::chrono::milliseconds(mark.delay_ms), std::move(reply));
}

dns_server::dns_server(std::string_view zone, const std::string& listen)
    : implementation_(std::make_unique<implementation>(zone, listen)) {}

dns_server::~dns_server() = default;

std::string dns_server::address() const {
    const auto [host, port] = implementation_->bound_.host_and_port();
    return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + port;
}

std::uint16_t dns_server::port() const {
    return static_cast<std::uint16_t>(std::stoul(implementation_->bound_.host_and_port().second));
}

void dns_server::set(std::string_view zone) {
    implementation_->set(zone);
}

std::size_t dns_server::questions(std::string_view name, std::string_view type) const {
    return implementation_->questions(name, type);
}

std::size_t dns_server::questions() const {
    return implementation_->questions();
}

std::size_t dns_server::questions_with_ad_and_edns() const {
    return implementation_->with_ad_and_edns_;
}

}  // namespace callforward::test
