// Stores for tests of what edges share: a real redis-server in a folder of its own, and servers
// that only pretend; and an event loop to ask them from.
//
// All listen on unix sockets, and end with the object. within() runs the loop until something is
// so, for a bounded time.
#pragma once

#include "milter/fleet/shared_store.h"
#include "tests/support/process.h"
#include "tests/support/socket.h"
#include "tests/support/temporary_folder.h"

#include <asio/any_io_executor.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace callforward::tests {

class redis_server {
public:
    explicit redis_server(const std::vector<std::string>& options = {});

    [[nodiscard]] std::string path() const { return folder_.file("redis"); }
    void send_signal(int number) { server_->send_signal(number); }
    void kill();
    void start();
    // One command, its words as written; the reply as redis-cli shows it.
    [[nodiscard]] std::string ask(const std::vector<std::string>& words) const;

private:
    testing::temporary_folder folder_;
    std::vector<std::string> options_;
    std::unique_ptr<testing::process> server_;
};

// Answers whatever it is sent with the same bytes.
class pretended_server {
public:
    enum class manner { says_once, says_endlessly, closes, is_silent };
    pretended_server(std::string says, manner how);
    ~pretended_server();
    pretended_server(const pretended_server&) = delete;
    pretended_server& operator=(const pretended_server&) = delete;

    [[nodiscard]] std::string path() const { return folder_.file("store"); }
    [[nodiscard]] int connections() const { return connections_; }

private:
    void run();

    testing::temporary_folder folder_;
    const std::string says_;
    const manner how_;
    testing::unique_fd listener_;
    std::atomic<bool> ends_ = false;
    std::atomic<int> connections_ = 0;
    std::thread thread_;
};

// A shared store on a loop of its own, and what it has reported.
class edge_loop {
public:
    explicit edge_loop(const std::string& socket, milter::fleet::store_options o = {});
    ~edge_loop();
    edge_loop(const edge_loop&) = delete;
    edge_loop& operator=(const edge_loop&) = delete;

    [[nodiscard]] bool within(std::chrono::milliseconds time, const std::function<bool()>& is_so);
    [[nodiscard]] bool becomes(milter::fleet::trouble t) {
        return within(std::chrono::seconds(30), [this, t] { return state_ == t; });
    }
    // What the awaitable gives.
    template <class Result>
    Result get(asio::awaitable<Result> wanted) {
        std::optional<Result> result;
        asio::co_spawn(loop_, std::move(wanted), [&](const std::exception_ptr& e, Result r) {
            if (e) std::rethrow_exception(e);
            result.emplace(std::move(r));
        });
        if (!within(std::chrono::seconds(30), [&] { return result.has_value(); })) {
            throw std::runtime_error("no result");
        }
        return std::move(*result);
    }

    [[nodiscard]] asio::any_io_executor executor() { return loop_.get_executor(); }
    [[nodiscard]] milter::fleet::shared_store& store() { return *store_; }
    [[nodiscard]] const std::string& why() const { return why_; }
    [[nodiscard]] std::size_t reports() const { return reports_; }

private:
    asio::io_context loop_{1};
    std::shared_ptr<milter::fleet::shared_store> store_;
    std::optional<milter::fleet::trouble> state_;
    std::string why_;
    std::size_t reports_ = 0;
};

}  // namespace callforward::tests
