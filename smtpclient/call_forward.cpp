#include "smtpclient/call_forward.h"

#include "smtpclient/connect.h"
#include "smtpclient/printable.h"
#include "smtpclient/session.h"
#include "smtpclient/targets.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace callforward::smtpclient {

namespace {

constexpr std::size_t most_connections = 20;
constexpr std::size_t most_hosts = 25;

// RFC 5321 section 4.1.2 and the RCPT it leads to: asking another host would not change what was
// said.
bool is_decisive(const verdict& v) {
    if (v.outcome() != outcome::undetermined) return true;
    const bool refused = v.reply && v.reply->status_class() == 5;
    return refused && (v.stage == stage::mail || v.stage == stage::rcpt || v.stage == stage::data);
}

// Of two verdicts that decide nothing, the one that says more.
bool says_more(const verdict& a, const verdict& b) {
    if (a.stage != b.stage) return a.stage > b.stage;
    return b.finding.reason == reason::no_usable_host && a.finding.reason != reason::no_usable_host;
}

bool failed_to_secure(const conclusion& c) {
    return c.stage == stage::handshake && !c.reply;
}

}  // namespace

// The way of one question from host to host. Lives in the frame of verify().
class call_forward::journey {
public:
    journey(call_forward& owner, question& q)
        : owner_(owner), question_(q), reach_(owner.reach_), finder_(owner.resolver_, reach_, q) {}

    asio::awaitable<verdict> travel() {
        const std::size_t hops = question_.to.recipient_mx ? 1 : question_.to.hops.size();
        for (std::size_t i = 0; i < hops && !done(); ++i) {
            auto found =
                co_await finder_.targets_of_hop(i, static_cast<std::uint32_t>(owner_.random_()));
            if (found.verdict) settle(std::move(*found.verdict));
            for (auto& target : found.targets) {
                if (done() || ++hosts_ > most_hosts) break;
                const bool stop = co_await visit(target);
                if (stop) break;
            }
        }
        if (!best_) settle(nothing_tried());
        finish(*best_);
        co_return std::move(*best_);
    }

private:
    [[nodiscard]] bool done() const {
        return decided_ || connections_ >= most_connections ||
               std::chrono::steady_clock::now() >= question_.deadline;
    }

    void settle(verdict v) {
        decided_ = decided_ || is_decisive(v);
        if (!best_ || is_decisive(v) || says_more(v, *best_)) best_ = std::move(v);
    }

    [[nodiscard]] verdict nothing_tried() const {
        verdict v;
        const bool late = std::chrono::steady_clock::now() >= question_.deadline;
        v.finding = {verdict_class::unreachable, late ? reason::timed_out : reason::no_usable_host};
        v.stage = stage::route;
        v.detail = late ? "no time left to try a host" : "the route names no host";
        return v;
    }

    void finish(verdict& v) {
        v.mx = finder_.exchangers();
        v.next_hop_names = finder_.names();
        v.next_hop_names.insert(v.next_hop_names.end(), peer_names_.begin(), peer_names_.end());
    }

    // True when the hosts after this one must not be tried: it is this host (RFC 5321 section 5.1).
    asio::awaitable<bool> visit(target t) {
        auto found = co_await finder_.endpoints_of(t);
        if (found.verdict) settle(std::move(*found.verdict));
        if (found.is_self) co_return true;
        auto endpoints = std::move(found.endpoints);
        while (!endpoints.empty() && !done()) {
            if (endpoints.size() > most_connections - connections_) {
                endpoints.resize(most_connections - connections_);
            }
            auto line =
                co_await connect_any(endpoints, question_.by->connect_timeout, question_.deadline);
            connections_ += line.failed.size() + (line.socket ? 1 : 0);
            if (!line.socket) {
                settle(not_connected(t, line));
                break;
            }
            const endpoint winner = endpoints[line.which];
            drop_tried(endpoints, line);
            tell("connected to " + winner.text());
            co_await converse(t, winner, std::move(*line.socket));
        }
        co_return false;
    }

    static void drop_tried(std::vector<endpoint>& endpoints, connected& line) {
        line.failed.push_back(line.which);
        std::sort(line.failed.rbegin(), line.failed.rend());
        for (const std::size_t i : line.failed) {
            endpoints.erase(endpoints.begin() + static_cast<std::ptrdiff_t>(i));
        }
    }

    asio::awaitable<void> converse(const target& t, const endpoint& e, stream_socket socket) {
        tls_level level = question_.by->tls;
        auto conversation = make_session(std::move(socket));
        auto failed = co_await open(*conversation, t, level);
        const bool again_in_clear = failed && failed_to_secure(*failed) &&
                                    level == tls_level::may && t.protocol != protocol::smtps;
        if (again_in_clear && !done()) {
            // RFC 7435: opportunistic TLS that fails must not make delivery worse than none.
            tell("again in clear, on a new connection");
            const std::vector<endpoint> same{e};
            auto line =
                co_await connect_any(same, question_.by->connect_timeout, question_.deadline);
            ++connections_;
            if (!line.socket) {
                settle(not_connected(t, line));
                co_return;
            }
            conversation = make_session(std::move(*line.socket));
            level = tls_level::none;
            failed = co_await open(*conversation, t, level);
        }
        conclusion answer;
        if (failed) {
            answer = std::move(*failed);
        } else {
            answer = co_await conversation->ask(question_);
        }
        settle(to_verdict(std::move(answer), t, e, *conversation));
        session::retire(std::move(conversation));
    }

    [[nodiscard]] std::unique_ptr<session> make_session(stream_socket socket) const {
        return std::make_unique<session>(
            std::make_unique<connection>(std::move(socket), question_.trace),
            question_.by->reply_timeout);
    }

    asio::awaitable<std::optional<conclusion>> open(session& s, const target& t, tls_level level) {
        opening::options options;
        options.helo = question_.by->helo.empty() ? question_.helo : question_.by->helo;
        options.protocol = t.protocol;
        options.tls = level;
        auto& context = owner_.context_for(question_.by->tls_min);
        auto failed = co_await s.open(std::move(options), context, t.name, question_.deadline);
        peer_names_.insert(peer_names_.end(), s.peer_names().begin(), s.peer_names().end());
        co_return failed;
    }

    [[nodiscard]] static verdict to_verdict(conclusion c,
                                            const target& t,
                                            const endpoint& e,
                                            const session& s) {
        verdict v = at(t, e);
        v.finding = c.finding;
        v.stage = c.stage;
        v.reply = std::move(c.reply);
        v.detail = std::move(c.detail);
        v.tls = s.tls();
        return v;
    }

    [[nodiscard]] static verdict at(const target& t, const endpoint& e) {
        verdict v;
        v.address = e.address ? e.address->text() : e.text();
        v.host = t.name.empty() ? v.address : t.name;
        v.port = e.port;
        return v;
    }

    [[nodiscard]] verdict not_connected(const target& t, const connected& line) const {
        verdict v;
        v.finding = {verdict_class::unreachable,
                     line.timed_out ? reason::timed_out : reason::connect_failed};
        v.stage = stage::connect;
        v.host = t.name.empty() && t.literal ? t.literal->text() : t.name;
        v.port = t.socket_path.empty() ? t.port : std::uint16_t{0};
        v.detail = line.why;
        tell(line.why);
        return v;
    }

    void tell(const std::string& what) const {
        if (question_.trace) question_.trace('*', what);
    }

    call_forward& owner_;
    question& question_;
    const reach& reach_;
    target_finder finder_;
    std::optional<verdict> best_;
    bool decided_ = false;
    std::size_t connections_ = 0;
    std::size_t hosts_ = 0;
    std::vector<std::string> peer_names_;
};

call_forward::call_forward(asio::any_io_executor executor, dns::resolver& resolver, reach r)
    : executor_(std::move(executor)),
      resolver_(resolver),
      reach_(std::move(r)),
      random_(std::random_device{}()) {}

call_forward::~call_forward() = default;

asio::awaitable<verdict> call_forward::verify(question q) {
    journey way(*this, q);
    co_return co_await way.travel();
}

tls_context& call_forward::context_for(tls_version least) {
    auto& context = contexts_[least];
    if (!context) context = std::make_unique<tls_context>(least);
    return *context;
}

std::vector<dns::network> default_deny() {
    std::vector<dns::network> networks;
    for (const auto* const text :
         {"127.0.0.0/8", "::1/128", "0.0.0.0/8", "169.254.0.0/16", "fe80::/10", "224.0.0.0/4"}) {
        networks.push_back(*dns::network::parse(text));
    }
    return networks;
}

reach this_host() {
    reach r;
    std::array<char, 256> name{};
    if (gethostname(name.data(), name.size() - 1) == 0) {
        if (const auto own = dns::domain::parse(name.data())) r.my_names.insert(own->name());
    }
    ifaddrs* interfaces = nullptr;
    if (getifaddrs(&interfaces) != 0) return r;
    const auto loopback = {dns::network::parse("127.0.0.0/8"), dns::network::parse("::1")};
    for (const ifaddrs* i = interfaces; i != nullptr; i = i->ifa_next) {
        if (i->ifa_addr == nullptr) continue;
        dns::ip_address address;
        if (i->ifa_addr->sa_family == AF_INET) {
            sockaddr_in four{};
            std::memcpy(&four, i->ifa_addr, sizeof four);
            dns::ip_address::bytes_v4 bytes{};
            std::memcpy(bytes.data(), &four.sin_addr, bytes.size());
            address = dns::ip_address(bytes);
        } else if (i->ifa_addr->sa_family == AF_INET6) {
            sockaddr_in6 six{};
            std::memcpy(&six, i->ifa_addr, sizeof six);
            dns::ip_address::bytes_v6 bytes{};
            std::memcpy(bytes.data(), &six.sin6_addr, bytes.size());
            address = dns::ip_address(bytes);
        } else {
            continue;
        }
        if (std::none_of(loopback.begin(), loopback.end(), [&](const auto& n) {
                return n->contains(address);
            })) {
            r.my_addresses.insert(address);
        }
    }
    freeifaddrs(interfaces);
    return r;
}

}  // namespace callforward::smtpclient
