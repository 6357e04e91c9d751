// bench-stores: what one look-up, one record and one question cost in each store.
//
//   bench-stores --redis SOCKET --lmdb DIRECTORY [--records N]      (tests/bench/stores runs it)
//
// LMDB as the cache uses it, from one thread; Redis over a unix socket, from one event loop, with
// one question at a time and with 64. For Redis also the server's own processor time for each, from
// INFO, and its memory for each record. Prints one line of JSON for each measurement.
#include "milter/fleet/shared_store.h"
#include "milter/verdicts/lmdb_store.h"
#include "tests/milter/stored_verdicts.h"

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace callforward;
using namespace callforward::milter;
using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

double seconds_since(clock::time_point begin) {
    return std::chrono::duration<double>(clock::now() - begin).count();
}

void print(const std::string& store,
           const std::string& what,
           std::size_t n,
           double seconds,
           double server_seconds,
           std::vector<double> latencies) {
    std::sort(latencies.begin(), latencies.end());
    const auto at = [&](double part) {
        return latencies.empty()
                   ? 0.0
                   : latencies[static_cast<std::size_t>(part * double(latencies.size() - 1))] * 1e6;
    };
    const auto each = 1e6 / static_cast<double>(n);
    std::printf(
        "{\"store\":\"%s\",\"what\":\"%s\",\"n\":%zu,\"each_us\":%.2f,\"server_us\":%.2f,"
        "\"p50_us\":%.0f,\"p99_us\":%.0f}\n",
        store.c_str(),
        what.c_str(),
        n,
        seconds * each,
        server_seconds * each,
        at(0.5),
        at(0.99));
    std::fflush(stdout);
}

void measure_lmdb(const std::string& directory, std::size_t records) {
    verdicts::lmdb_options options;
    options.directory = directory;
    verdicts::lmdb_store store(options);
    auto begin = clock::now();
    for (std::size_t i = 0; i < records; ++i) {
        store.put(tests::key_of_number(i), tests::record_of_number(i));
    }
    static_cast<void>(store.flush(60s));
    print("lmdb", "put", records, seconds_since(begin), 0, {});
    begin = clock::now();
    std::size_t found = 0;
    for (std::size_t i = 0; i < records; ++i) {
        found += store.find(tests::key_of_number(i * 7919 % records)) ? 1 : 0;
    }
    if (found != records) throw std::runtime_error("the LMDB store has lost records");
    print("lmdb", "find", records, seconds_since(begin), 0, {});
}

class redis_bench {
public:
    redis_bench(const std::string& socket, std::size_t records) : records_(records) {
        fleet::store_options options;
        options.at.socket_path = socket;
        options.timeout = 5s;
        store_ = std::make_shared<fleet::shared_store>(
            loop_.get_executor(),
            std::make_shared<const fleet::store_options>(options),
            nullptr,
            [](fleet::trouble, const std::string&) {});
        store_->start();
        while (!store_->is_usable()) loop_.run_one_for(100ms);
    }
    ~redis_bench() { store_->stop(); }

    void run() {
        measure("miss: find", records_, 64, &redis_bench::find);
        const double before = info("memory", "used_memory");
        measure("question: find, lease, put", records_, 64, &redis_bench::question);
        const double size = (info("memory", "used_memory") - before) / double(records_);
        std::printf("{\"store\":\"redis\",\"what\":\"memory\",\"bytes\":%.0f}\n", size);
        measure("hit: find", records_, 64, &redis_bench::find);
        measure("hit: find, one at a time", records_ / 10, 1, &redis_bench::find);
    }

private:
    using job = asio::awaitable<void> (redis_bench::*)(std::size_t);

    fleet::question_names names(std::size_t i) const {
        smtpclient::question q;
        q.recipient = *smtpclient::mailbox::parse("user" + std::to_string(i) + "@a" +
                                                  std::to_string(i % 10) + ".test");
        q.to.recipient_mx = true;
        return store_->names_of(q, "policy");
    }
    asio::awaitable<void> find(std::size_t i) {
        const auto n = names(i);
        const auto found = co_await store_->find(n);
        if (!found) throw std::runtime_error("no answer");
    }
    asio::awaitable<void> question(std::size_t i) {
        const auto n = names(i);
        const auto found = co_await store_->find(n);
        const auto lease = co_await store_->try_lease(n);
        if (!found || !lease || !lease->got) throw std::runtime_error("no lease");
        store_->put(n,
                    fleet::kept_as::record,
                    found->marks,
                    lease->token,
                    tests::record_of_number(i),
                    168h);
    }
    asio::awaitable<void> worker(job what) {
        while (next_ < end_) {
            const std::size_t i = next_++;
            const auto begin = clock::now();
            co_await (this->*what)(i);
            latencies_.push_back(seconds_since(begin));
        }
        --working_;
    }
    void measure(const char* name, std::size_t n, unsigned at_once, job what) {
        next_ = 0;
        end_ = n;
        working_ = at_once;
        latencies_.clear();
        const double before = server_seconds();
        const auto begin = clock::now();
        for (unsigned i = 0; i < at_once; ++i) {
            auto one = worker(what);
            asio::co_spawn(loop_, std::move(one), [](const std::exception_ptr& e) {
                if (e) std::rethrow_exception(e);
            });
        }
        while (working_ > 0) loop_.run_one();
        const double seconds = seconds_since(begin);
        print("redis", name, n, seconds, server_seconds() - before, latencies_);
    }

    double server_seconds() { return info("cpu", "used_cpu_user") + info("cpu", "used_cpu_sys"); }
    double info(const char* section, const std::string& name) {
        std::string text;
        bool answered = false;
        store_->link().tell(
            fleet::resp_command({"INFO", section}), 1, [&](std::optional<fleet::replies> got) {
                if (got) text = got->front().text;
                answered = true;
            });
        while (!answered) loop_.run_one();
        const auto at = text.find(name + ':');
        return at == std::string::npos ? 0 : std::stod(text.substr(at + name.size() + 1));
    }

    asio::io_context loop_{1};
    const std::size_t records_;
    std::shared_ptr<fleet::shared_store> store_;
    std::size_t next_ = 0;
    std::size_t end_ = 0;
    unsigned working_ = 0;
    std::vector<double> latencies_;
};

int run(const std::vector<std::string>& words) {
    std::map<std::string, std::string> options{{"--records", "100000"}};
    for (std::size_t i = 1; i + 1 < words.size(); i += 2) options[words[i]] = words[i + 1];
    if (options["--redis"].empty() || options["--lmdb"].empty()) {
        std::fprintf(stderr, "usage: bench-stores --redis SOCKET --lmdb DIRECTORY [--records N]\n");
        return 64;
    }
    const std::size_t records = std::stoul(options["--records"]);
    measure_lmdb(options["--lmdb"], records);
    redis_bench(options["--redis"], records).run();
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run({argv, argv + argc});
    } catch (const std::exception& e) {
        std::fprintf(stderr, "bench-stores: %s\n", e.what());
        return 1;
    }
}
