#include "tests/milter/fleet/played_store.h"

#include <poll.h>
#include <sys/socket.h>

#include <csignal>
#include <stdexcept>

namespace callforward::tests {

using namespace std::chrono_literals;
using milter::fleet::store_options;
using milter::fleet::trouble;

redis_server::redis_server(const std::vector<std::string>& options) : options_(options) {
    start();
}

void redis_server::start() {
    std::vector<std::string> words{"redis-server",
                                   "--port",
                                   "0",
                                   "--unixsocket",
                                   path(),
                                   "--dir",
                                   folder_.path().string(),
                                   "--save",
                                   "",
                                   "--appendonly",
                                   "no"};
    words.insert(words.end(), options_.begin(), options_.end());
    server_ = std::make_unique<testing::process>(words);
    if (!server_->wait_for("connections at")) {
        throw std::runtime_error("redis-server does not start: " + server_->output());
    }
}

void redis_server::kill() {
    server_->send_signal(SIGKILL);
    static_cast<void>(server_->wait_for_exit());
}

std::string redis_server::ask(const std::vector<std::string>& words) const {
    std::vector<std::string> command{"redis-cli", "-s", path()};
    command.insert(command.end(), words.begin(), words.end());
    testing::process client(command);
    // Its end may be seen before its words are.
    static_cast<void>(client.wait_for(""));
    static_cast<void>(client.wait_for_exit());
    std::string said = client.output();
    while (said.ends_with('\n')) said.pop_back();
    return said;
}

pretended_server::pretended_server(std::string says, manner how)
    : says_(std::move(says)), how_(how), listener_(testing::listen_on("unix:" + path())) {
    thread_ = std::thread([this] { run(); });
}

pretended_server::~pretended_server() {
    ends_ = true;
    thread_.join();
}

void pretended_server::run() {
    std::vector<testing::unique_fd> clients;
    while (!ends_) {
        std::vector<pollfd> polled{{listener_.get(), POLLIN, 0}};
        const bool pushes = how_ == manner::says_endlessly;
        for (const auto& client : clients) {
            polled.push_back(
                {client.get(), static_cast<short>(pushes ? POLLIN | POLLOUT : POLLIN), 0});
        }
        if (::poll(polled.data(), polled.size(), 5) <= 0) continue;
        for (std::size_t i = 1; i < polled.size(); ++i) {
            if (polled[i].revents == 0) continue;
            auto& client = clients[i - 1];
            char bytes[4096];
            const auto got = ::recv(client.get(), bytes, sizeof bytes, MSG_DONTWAIT);
            const bool spoken_to = got > 0 && how_ == manner::says_once;
            if (spoken_to || (pushes && (polled[i].revents & POLLOUT) != 0)) {
                ::send(client.get(), says_.data(), says_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
            }
            if (got == 0 || how_ == manner::closes) client.reset();
        }
        std::erase_if(clients, [](const auto& c) { return !c; });
        if (auto fresh = testing::accept_from(listener_)) {
            clients.push_back(std::move(fresh));
            ++connections_;
        }
    }
}

edge_loop::edge_loop(const std::string& socket, store_options o) {
    o.at.socket_path = socket;
    store_ = std::make_shared<milter::fleet::shared_store>(
        loop_.get_executor(),
        std::make_shared<const store_options>(std::move(o)),
        nullptr,
        [this](trouble t, const std::string& why) {
            state_ = t;
            why_ = why;
            ++reports_;
        });
    store_->start();
}

edge_loop::~edge_loop() {
    store_->stop();
}

bool edge_loop::within(std::chrono::milliseconds time, const std::function<bool()>& is_so) {
    const auto limit = std::chrono::steady_clock::now() + time;
    while (!is_so()) {
        if (std::chrono::steady_clock::now() > limit) return false;
        loop_.restart();
        loop_.run_one_for(10ms);
    }
    return true;
}

}  // namespace callforward::tests
