// A group of clients that ask alike, and what became of their recipients.
//
// Written on the command line as "name=others,clients=10,pattern=cold,domains=10,...". Patterns:
// hot (1000 addresses in turn), cold (each once), unknown (each once, and the next hop refuses it),
// one (the same new address for all). Domain number n is "dN.bench.test" and is delivered to host n
// (poller.h). Latency is from the RCPT's last byte sent to its answer's first byte read.
#pragma once

#include "tests/bench/poller.h"

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::bench {

enum class pattern { hot, cold, unknown, one };

struct group_options {
    std::string name = "all";
    bench::pattern pattern = bench::pattern::cold;
    unsigned clients = 50;
    unsigned domains = 1;
    unsigned first = 0;         // number of the first domain
    unsigned transaction = 10;  // recipients in a transaction
    unsigned session = 100;     // recipients in a session; 0: no end
    unsigned each = 0;          // recipients that each client asks for; 0: until time is up
    unsigned batch = 0;         // SMTP: so many MAIL RCPT RSET in one write; 0: a plain dialogue
    std::uint64_t count = 0;    // verdicts, then the group is done; 0: until time is up

    [[nodiscard]] static group_options parse(std::string_view text);
};

struct recipient {
    std::string address;
    std::string domain;
    unsigned host = 0;
};

class group {
public:
    // tag tells the addresses of this run from those of another.
    group(group_options options, std::string tag);

    [[nodiscard]] const group_options& options() const { return options_; }
    [[nodiscard]] bool exhausted() const;
    [[nodiscard]] recipient next();

    void answered(int code, clock::duration took);
    void lost() { ++lost_; }
    void connected() { ++connects_; }
    void failed() { ++failures_; }
    // Forgets what was measured: the warming up is over.
    void begin(clock::time_point now);
    [[nodiscard]] std::string json(clock::time_point end);

private:
    group_options options_;
    std::string tag_;
    std::uint64_t made_ = 0;
    std::uint64_t verdicts_ = 0;
    std::uint64_t lost_ = 0;      // connections that ended while an answer was due
    std::uint64_t connects_ = 0;  // sessions begun
    std::uint64_t failures_ = 0;  // connections that could not be had, or were not greeted
    clock::time_point begun_;
    clock::time_point last_;
    std::vector<std::uint32_t> took_;  // microseconds
    std::array<std::uint64_t, 600> codes_{};
};

}  // namespace callforward::bench
