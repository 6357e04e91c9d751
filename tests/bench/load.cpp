// bench-load: so many clients, each with one RCPT (or one batch) outstanding, and how long each
// took.
//
//   bench-load --milter unix:/path|ADDRESS:PORT --next-hop-port PORT [options]   plays the MTA
//   bench-load --smtp ADDRESS:PORT [options]                                     plays SMTP clients
//
// Options: --group KEY=VALUE,... (repeatable; load_group.h), --seconds S (10), --warm S (0: not
// counted at the beginning), --tag TEXT (so that a run's cold recipients are new), --give-up S (60:
// all clients must be ready by then). Prints "start" when the counted time begins, and one line of
// JSON at its end. One thread, epoll. Ends early when all groups are done.
#include "tests/bench/load_client.h"

#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <vector>

namespace callforward::bench {
namespace {

struct load_options {
    bool milter = false;
    std::string target;
    std::uint16_t next_hop_port = 25;
    double seconds = 10;
    double warm = 0;
    double give_up = 60;
    std::string tag = "t";
    std::vector<group_options> groups;
};

clock::duration in_seconds(double s) {
    return std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(s));
}

class generator {
public:
    explicit generator(const load_options& options) : options_(options) {
        run_.target = options.target;
        run_.next_hop_port = options.next_hop_port;
        for (const auto& each : options.groups) {
            groups_.push_back(std::make_unique<group>(each, options.tag));
            for (unsigned i = 0; i < each.clients; ++i) {
                clients_.push_back(options.milter ? make_milter_client(run_, *groups_.back())
                                                  : make_smtp_client(run_, *groups_.back()));
            }
        }
    }

    void run() {
        for (auto& each : clients_) each->open();
        const auto limit = clock::now() + in_seconds(options_.give_up);
        while (run_.at_barrier < clients_.size()) {
            if (clock::now() > limit) {
                throw std::runtime_error("only " + std::to_string(run_.at_barrier) + " of " +
                                         std::to_string(clients_.size()) + " clients got ready");
            }
            turn(limit);
        }
        run_.going = true;
        if (options_.warm <= 0) begin();
        for (auto& each : clients_) each->go();
        if (options_.warm > 0) {
            until(clock::now() + in_seconds(options_.warm));
            begin();
        }
        until(begun_ + in_seconds(options_.seconds));
        report();
    }

private:
    void begin() {
        begun_ = clock::now();
        for (auto& each : groups_) each->begin(begun_);
        cpu_ = cpu_seconds();
        std::puts("start");
        std::fflush(stdout);
    }

    void turn(clock::time_point limit) {
        const auto next =
            run_.waiting.empty() ? limit : std::min(limit, run_.waiting.front().first);
        run_.poller.wait(next);
        while (!run_.waiting.empty() && run_.waiting.front().first <= clock::now()) {
            client* const again = run_.waiting.front().second;
            run_.waiting.pop_front();
            again->open();
        }
    }

    void until(clock::time_point limit) {
        while (clock::now() < limit && run_.done < clients_.size()) turn(limit);
    }

    void report() {
        const auto end = clock::now();
        const double seconds = std::chrono::duration<double>(end - begun_).count();
        std::string groups;
        for (auto& each : groups_) groups += (groups.empty() ? "" : ",") + each->json(end);
        std::printf("{\"seconds\":%.3f,\"load_cpu\":%.3f,\"groups\":{%s}}\n",
                    seconds,
                    cpu_seconds() - cpu_,
                    groups.c_str());
        std::fflush(stdout);
    }

    load_options options_;
    load run_;
    std::vector<std::unique_ptr<group>> groups_;
    std::vector<std::unique_ptr<client>> clients_;
    clock::time_point begun_;
    double cpu_ = 0;
};

load_options parse(int argc, char** argv) {
    load_options options;
    for (int i = 1; i < argc; i += 2) {
        const std::string name = argv[i];
        if (i + 1 >= argc) throw std::runtime_error(name + " needs a value");
        const std::string value = argv[i + 1];
        if (name == "--milter" || name == "--smtp") {
            options.milter = name == "--milter";
            options.target = value;
        } else if (name == "--next-hop-port") {
            options.next_hop_port = static_cast<std::uint16_t>(std::stoul(value));
        } else if (name == "--seconds") {
            options.seconds = std::stod(value);
        } else if (name == "--warm") {
            options.warm = std::stod(value);
        } else if (name == "--give-up") {
            options.give_up = std::stod(value);
        } else if (name == "--tag") {
            options.tag = value;
        } else if (name == "--group") {
            options.groups.push_back(group_options::parse(value));
        } else {
            throw std::runtime_error("unknown option " + name);
        }
    }
    if (options.target.empty()) throw std::runtime_error("--milter or --smtp is missing");
    if (options.groups.empty()) options.groups.emplace_back();
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
        callforward::bench::generator(callforward::bench::parse(argc, argv)).run();
        return 0;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "bench-load: %s\n", e.what());
        return 1;
    }
}
