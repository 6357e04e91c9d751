// One client of the load generator: one connection at a time, one RCPT outstanding (or one batch).
//
// The base keeps the connection, counts and decides when a transaction or a session ends; those
// derived speak SMTP or play the MTA towards a milter. A client that loses its connection opens
// another one after a moment. All clients wait at a barrier before their first RCPT, so that what
// is measured begins at one instant.
#pragma once

#include "tests/bench/load_group.h"
#include "tests/bench/poller.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

namespace callforward::bench {

class client;

struct load {  // what all clients of a run share
    std::string target;
    std::uint16_t next_hop_port = 25;
    bench::poller poller;
    bool going = false;  // the barrier has been lifted
    std::size_t at_barrier = 0;
    std::size_t done = 0;  // clients that have nothing more to ask
    std::uint32_t sessions = 0;
    std::deque<std::pair<clock::time_point, client*>> waiting;  // to connect again
};

class client : public handler {
public:
    client(load& run, bench::group& g) : run_(run), group_(g) {}
    void open();
    void go();  // the barrier has been lifted
    void on_event(std::uint32_t events) override;

protected:
    virtual void connected() = 0;
    // Takes what it understands from the front of input.
    virtual void received(std::string_view& input) = 0;
    virtual void send_recipient(const recipient& r) = 0;
    virtual void begin_transaction() = 0;
    virtual void send_quit() = 0;

    void ready();  // a RCPT may be sent
    void answered(int code);
    void send(std::string_view bytes);
    void broken();  // what the other side says makes no sense, or it has gone
    [[nodiscard]] bench::group& of() { return group_; }
    [[nodiscard]] load& run() { return run_; }
    // The address this session comes from: one in 127.16.0.0/12, another for each session.
    [[nodiscard]] std::uint32_t address() const { return address_; }

private:
    void ask();
    void close();
    void finish();
    void again();

    load& run_;
    bench::group& group_;
    descriptor fd_;
    output out_;
    std::string input_;
    std::uint32_t address_ = 0;
    bool wants_out_ = false;
    bool established_ = false;
    bool finished_ = false;
    bool at_barrier_ = false;
    unsigned outstanding_ = 0;
    unsigned asked_ = 0;           // by this client
    unsigned in_session_ = 0;      // answered
    unsigned in_transaction_ = 0;  // answered
    clock::time_point sent_;
};

[[nodiscard]] std::unique_ptr<client> make_milter_client(load& run, group& g);
[[nodiscard]] std::unique_ptr<client> make_smtp_client(load& run, group& g);

}  // namespace callforward::bench
