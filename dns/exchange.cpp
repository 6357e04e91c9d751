#include "dns/exchange.h"

#include "dns/server_list.h"

#include <ares.h>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <stdexcept>
#include <utility>

namespace callforward::dns {

namespace {

using steady = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int least_tries = 2;  // of a server
constexpr int most_tries = 4;
// A packet that was lost is not worth a longer wait, however long the whole may take.
constexpr milliseconds longest_first_try{2000};
constexpr int edns_udp_size = 1232;  // fits every path without fragments (DNS flag day 2020)
constexpr int ad_byte = 3;           // of the header,
constexpr unsigned char ad_bit = 0x20;

struct ares_deleter {
    void operator()(ares_channeldata* channel) const { ares_destroy(channel); }
};
using channel_ptr = std::unique_ptr<ares_channeldata, ares_deleter>;

void start_library() {
    static const int library = ares_library_init(ARES_LIB_INIT_ALL);
    if (library != ARES_SUCCESS)
        throw std::runtime_error(std::string("c-ares cannot start: ") + ares_strerror(library));
}

std::string failure_name(int ares_status) {
    switch (ares_status) {
        case ARES_ETIMEOUT:
            return "timeout";
        case ARES_ESERVFAIL:
            return "SERVFAIL";
        case ARES_EREFUSED:
            return "REFUSED";
        case ARES_ENOTIMP:
            return "NOTIMP";
        case ARES_ECONNREFUSED:
            // Also what c-ares 1.18 says when every server was left for its answer.
            return "no server answers usefully (connection refused, SERVFAIL or REFUSED)";
        default:  // not an enum of ours
            return ares_strerror(ares_status);
    }
}

}  // namespace

// A socket of c-ares', watched. Shared with the waits under way, which asio ends some time after
// the socket went away: they find `owner` empty then. c-ares opens and closes the socket; it is
// only lent to asio.
struct watched_socket : std::enable_shared_from_this<watched_socket> {
    watched_socket(const asio::any_io_executor& executor, exchange& x)
        : owner(&x), descriptor(executor) {}

    void wait_to_read();
    void wait_to_write();
    void let_go() {
        owner = nullptr;
        descriptor.release();
    }

    exchange* owner;
    asio::posix::stream_descriptor descriptor;
    bool readable_wanted = false;
    bool writable_wanted = false;
    bool reading = false;
    bool writing = false;
};

class exchange {
public:
    explicit exchange(transport& by) : by_(by), timer_(by.executor_) {
        by_.under_way_.insert(this);
    }
    exchange(const exchange&) = delete;
    exchange& operator=(const exchange&) = delete;
    ~exchange() {
        // Calls back with ARES_EDESTRUCTION where no reply came, and lets go of the sockets.
        channel_.reset();
        for (auto& [fd, socket] : sockets_) socket->let_go();
        by_.under_way_.erase(this);
    }

    asio::awaitable<void> run(domain name, record_type type, steady::time_point deadline);

    void fail(std::string why) {
        if (!done_) reply_.why = std::move(why);
        finish();
    }
    void process(ares_socket_t readable, ares_socket_t writable) {
        if (!done_) ares_process_fd(channel_.get(), readable, writable);
    }
    [[nodiscard]] wire_reply take() { return std::move(reply_); }

private:
    void open(steady::time_point deadline);
    void send(const domain& name, record_type type);
    void watch(ares_socket_t fd, bool readable, bool writable);
    [[nodiscard]] steady::time_point next_event(steady::time_point deadline) const;
    static void on_reply(void* self, int status, int timeouts, unsigned char* bytes, int size);
    void finish() {
        done_ = true;
        timer_.cancel();
    }

    transport& by_;
    asio::steady_timer
        timer_;  // until the next thing c-ares wants to do by time; cancelled when done
    std::map<ares_socket_t, std::shared_ptr<watched_socket>> sockets_;
    channel_ptr channel_;
    bool done_ = false;
    wire_reply reply_;
};

void watched_socket::wait_to_read() {
    if (reading || !readable_wanted || owner == nullptr) return;
    reading = true;
    descriptor.async_wait(asio::posix::descriptor_base::wait_read,
                          [self = shared_from_this()](const asio::error_code& error) {
                              self->reading = false;
                              if (error || self->owner == nullptr) return;
                              self->owner->process(self->descriptor.native_handle(),
                                                   ARES_SOCKET_BAD);
                              self->wait_to_read();
                          });
}

void watched_socket::wait_to_write() {
    if (writing || !writable_wanted || owner == nullptr) return;
    writing = true;
    descriptor.async_wait(asio::posix::descriptor_base::wait_write,
                          [self = shared_from_this()](const asio::error_code& error) {
                              self->writing = false;
                              if (error || self->owner == nullptr) return;
                              self->owner->process(ARES_SOCKET_BAD,
                                                   self->descriptor.native_handle());
                              self->wait_to_write();
                          });
}

asio::awaitable<void> exchange::run(domain name, record_type type, steady::time_point deadline) {
    if (!done_) open(deadline);
    if (!done_) send(name, type);
    while (!done_) {
        timer_.expires_at(next_event(deadline));
        asio::error_code cancelled;
        co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
        if (!done_ && steady::now() >= deadline) fail("timeout");
        process(ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    }
}

void exchange::open(steady::time_point deadline) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - steady::now());
    ares_options options{};
    options.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS;
    // With no server to go on to, its SERVFAIL is handed to us rather than hidden behind an error.
    if (by_.server_count_ == 1) options.flags |= ARES_FLAG_NOCHECKRESP;
    options.tries = least_tries;
    const auto shares_of = [&](int tries) {  // c-ares doubles the time of a try in each round
        return static_cast<milliseconds::rep>(by_.server_count_) * ((1 << tries) - 1);
    };
    const auto first_try =
        std::clamp(left / shares_of(least_tries), milliseconds(1), longest_first_try);
    options.timeout = static_cast<int>(first_try.count());
    while (options.tries < most_tries && first_try * shares_of(options.tries + 1) <= left)
        ++options.tries;
    options.ndots = 1;
    options.ednspsz = edns_udp_size;
    std::array<char, 2> lookups{"b"};  // DNS only
    options.lookups = lookups.data();
    options.sock_state_cb_data = this;
    options.sock_state_cb = [](void* self, ares_socket_t fd, int readable, int writable) {
        static_cast<exchange*>(self)->watch(fd, readable != 0, writable != 0);
    };
    // Everything is given, so that c-ares reads no file for a question (the server is a
    // placeholder).
    in_addr placeholder{};
    options.servers = &placeholder;
    options.nservers = 1;
    constexpr int given = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS |
                          ARES_OPT_EDNSPSZ | ARES_OPT_LOOKUPS | ARES_OPT_DOMAINS |
                          ARES_OPT_SERVERS | ARES_OPT_NOROTATE | ARES_OPT_SOCK_STATE_CB;
    ares_channel raw = nullptr;
    int rc = ares_init_options(&raw, &options, given);
    channel_.reset(rc == ARES_SUCCESS ? raw : nullptr);
    if (rc == ARES_SUCCESS) rc = ares_set_servers_ports_csv(raw, by_.servers_.c_str());
    if (rc != ARES_SUCCESS) fail(ares_strerror(rc));
}

void exchange::send(const domain& name, record_type type) {
    std::uint16_t id = 0;
    // Not c-ares' own ids, which were weak before 1.19.1 (CVE-2023-31147).
    if (getrandom(&id, sizeof id, 0) != static_cast<ssize_t>(sizeof id))
        return fail("no random numbers");
    unsigned char* raw = nullptr;
    int size = 0;
    constexpr int class_in = 1;
    constexpr int recursion_desired = 1;
    const int rc = ares_create_query(name.name().c_str(),
                                     class_in,
                                     static_cast<int>(type),
                                     id,
                                     recursion_desired,
                                     &raw,
                                     &size,
                                     edns_udp_size);
    const std::unique_ptr<unsigned char, decltype(&ares_free_string)> query(
        raw, [](void* p) { ares_free_string(p); });
    if (rc != ARES_SUCCESS) return fail(ares_strerror(rc));
    raw[ad_byte] |= ad_bit;  // RFC 6840 section 5.7: "tell me whether it is authentic"
    ares_send(channel_.get(), raw, size, on_reply, this);
}

void exchange::watch(ares_socket_t fd, bool readable, bool writable) {
    auto at = sockets_.find(fd);
    if (!readable && !writable) {
        if (at == sockets_.end()) return;
        at->second->let_go();
        sockets_.erase(at);
        return;
    }
    if (at == sockets_.end()) {
        auto socket = std::make_shared<watched_socket>(by_.executor_, *this);
        asio::error_code error;
        socket->descriptor.assign(fd, error);
        if (error) return;  // not heard; the timeout ends it
        at = sockets_.emplace(fd, std::move(socket)).first;
    }
    at->second->readable_wanted = readable;
    at->second->writable_wanted = writable;
    at->second->wait_to_read();
    at->second->wait_to_write();
}

steady::time_point exchange::next_event(steady::time_point deadline) const {
    timeval buffer{};
    const timeval* next = ares_timeout(channel_.get(), nullptr, &buffer);
    if (next == nullptr) return deadline;
    // Rounded up, or it would be woken in vain until the last part of the millisecond has passed.
    const auto until = std::chrono::seconds(next->tv_sec) +
                       std::chrono::microseconds(next->tv_usec) + milliseconds(1);
    return std::min(deadline, steady::now() + until);
}

void exchange::on_reply(void* self, int status, int, unsigned char* bytes, int size) {
    auto& x = *static_cast<exchange*>(self);
    if (x.done_) return;  // our deadline came first
    if (status == ARES_SUCCESS && bytes != nullptr && size > 0)
        x.reply_.message.assign(bytes, bytes + size);
    else
        x.reply_.why = failure_name(status);
    x.finish();
}

// Here, not beside server_list(): c-ares reads the file.
std::vector<std::string> system_servers(const std::string& resolv_conf) {
    start_library();
    std::string path = resolv_conf;
    ares_options options{};
    options.resolvconf_path = path.data();
    ares_channel raw = nullptr;
    if (const int rc = ares_init_options(&raw, &options, ARES_OPT_RESOLVCONF); rc != ARES_SUCCESS)
        throw std::runtime_error(std::string("the resolver cannot start: ") + ares_strerror(rc) +
                                 "; see " + resolv_conf + ", or list servers under [dns]");
    const channel_ptr channel(raw);
    ares_addr_port_node* first = nullptr;
    std::vector<std::string> servers;
    if (ares_get_servers_ports(channel.get(), &first) == ARES_SUCCESS)
        for (const ares_addr_port_node* s = first; s != nullptr; s = s->next) {
            ip_address::bytes_v4 v4{};
            ip_address::bytes_v6 v6{};
            std::copy_n(reinterpret_cast<const std::uint8_t*>(&s->addr), v4.size(), v4.begin());
            if (s->family != AF_INET)
                std::copy_n(reinterpret_cast<const std::uint8_t*>(&s->addr), v6.size(), v6.begin());
            const ip_address address = s->family == AF_INET ? ip_address(v4) : ip_address(v6);
            const int port = s->udp_port != 0 ? s->udp_port : 53;
            servers.push_back("[" + address.text() + "]:" + std::to_string(port));
        }
    ares_free_data(first);
    return servers;
}

transport::transport(asio::any_io_executor executor, const std::vector<std::string>& servers)
    : executor_(std::move(executor)) {
    start_library();
    servers_ = server_list(servers.empty() ? system_servers() : servers);
    server_count_ = 1 + static_cast<std::size_t>(std::count(servers_.begin(), servers_.end(), ','));
}

asio::awaitable<wire_reply> transport::ask(domain name,
                                           record_type type,
                                           steady::time_point deadline) {
    exchange x(*this);
    if (stopped_) x.fail("stopped");
    co_await x.run(std::move(name), type, deadline);
    co_return x.take();
}

void transport::stop() {
    stopped_ = true;
    for (exchange* x : under_way_) x->fail("stopped");
}

}  // namespace callforward::dns
