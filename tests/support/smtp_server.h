// The event loop of test-smtp-server: thousands of next-hop sessions on one thread, by epoll.
//
// What is said comes from next_hop_session; here are bytes, TLS, delays and the event log. A line
// may have 64 KiB, and replies wait without limit for a client that does not read (tests only!).
// While an answer is delayed nothing more of that client is read, but its leaving is noticed.
// STARTTLS and smtps show a certificate of a CA made at the start.
#pragma once

#include "tests/support/certificates.h"
#include "tests/support/next_hop_session.h"
#include "tests/support/smtp_rules.h"
#include "tests/support/socket.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace callforward::testing {

struct smtp_server_options {
    std::vector<std::string> listen;        // addresses as in socket.h
    std::vector<std::string> listen_smtps;  // TLS from the first byte
    std::string log;                        // file the events are appended to; "" is none
    bool accept_data = false;
    certificate identity;
};

class smtp_server {
public:
    smtp_server(const smtp_server_options& options, smtp_rules rules);
    ~smtp_server();
    smtp_server(const smtp_server&) = delete;
    smtp_server& operator=(const smtp_server&) = delete;

    // With the chosen ports, in the order of the options, smtps last.
    [[nodiscard]] std::vector<std::string> addresses() const;

    // Only in run()'s thread, from a watch()ed handler, or before run().
    void set_rules(smtp_rules rules) { rules_ = std::move(rules); }
    void watch(int descriptor, std::function<void()> readable);
    void leave() { running_ = false; }

    void run();

private:
    using clock = std::chrono::steady_clock;
    struct connection;
    struct listener {
        unique_fd socket;
        bool tls = false;
    };

    void handle(std::uint64_t id, std::uint32_t events);
    void accept_all(const listener& from);
    void receive(connection& c);
    void process(connection& c);
    void apply(connection& c, const next_hop_answer& answer);
    void flush(connection& c);
    void shake_hands(connection& c);
    void begin_tls(connection& c);
    void set_events(connection& c);
    void set_timer(connection& c, std::chrono::milliseconds after);
    void run_timers();
    [[nodiscard]] int milliseconds_to_timer() const;
    void drop(connection& c);
    void note(std::string_view event);

    smtp_rules rules_;
    bool accept_data_;
    ssl_context tls_;
    unique_fd epoll_;
    unique_fd log_;
    std::vector<listener> listeners_;
    std::map<std::uint64_t, std::function<void()>> watched_;
    std::unordered_map<std::uint64_t, std::unique_ptr<connection>> connections_;
    std::multimap<clock::time_point, std::uint64_t> timers_;
    std::uint64_t next_id_ = 0;
    bool running_ = true;
};

}  // namespace callforward::testing
