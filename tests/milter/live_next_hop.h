// A next hop on the loopback for tests of this room, on a thread of its own, whose rules
// (smtp_rules.h) may be changed while it runs, and which tells what it was asked.
#pragma once

#include "milter/log.h"
#include "smtpclient/next_hop.h"
#include "tests/support/smtp_server.h"
#include "tests/support/temporary_folder.h"

#include <sys/eventfd.h>

#include <fstream>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

namespace callforward::tests {

class live_next_hop {
public:
    explicit live_next_hop(std::string_view rules)
        : server_(options(), testing::smtp_rules::parse(rules, "rules")) {
        server_.watch(wake_.get(), [this] { obey(); });
        thread_ = std::thread([this] { server_.run(); });
        // What is logged of a RCPT is not what these tests look at.
        milter::log_settings quiet;
        quiet.target = milter::log_target::standard_error;
        quiet.level = milter::log_level::error;
        milter::log::open(quiet);
    }
    ~live_next_hop() {
        {
            const std::lock_guard lock(mutex_);
            ends_ = true;
        }
        wake();
        thread_.join();
    }
    live_next_hop(const live_next_hop&) = delete;
    live_next_hop& operator=(const live_next_hop&) = delete;

    // For the commands that come after it is obeyed, which is at once.
    void use(std::string_view rules) {
        {
            const std::lock_guard lock(mutex_);
            next_ = testing::smtp_rules::parse(rules, "rules");
        }
        wake();
    }

    [[nodiscard]] std::string route() const { return "[127.0.3.9]:" + std::to_string(port()); }
    [[nodiscard]] smtpclient::next_hop hop() const {
        std::string error;
        const auto parsed = smtpclient::parse_next_hop(route(), error);
        if (!parsed) throw std::runtime_error(error);
        return *parsed;
    }
    // How often a RCPT for the address was answered.
    [[nodiscard]] int asked(const std::string& address) const {
        std::ifstream log(folder_.file("log"));
        int times = 0;
        for (std::string line; std::getline(log, line);) {
            if (line.find("rcpt " + address + ' ') != std::string::npos) ++times;
        }
        return times;
    }

private:
    [[nodiscard]] testing::smtp_server_options options() const {
        testing::smtp_server_options o;
        o.listen = {"127.0.3.9:0"};
        o.log = folder_.file("log");
        o.identity = testing::certificate_authority().issue("mx.next.test");
        return o;
    }
    [[nodiscard]] int port() const {
        const std::string address = server_.addresses().at(0);
        return std::stoi(address.substr(address.rfind(':') + 1));
    }
    void wake() const {
        if (eventfd_write(wake_.get(), 1) != 0) throw std::runtime_error("eventfd");
    }
    void obey() {
        eventfd_t ignored = 0;
        eventfd_read(wake_.get(), &ignored);
        const std::lock_guard lock(mutex_);
        if (next_) server_.set_rules(std::move(*next_));
        next_.reset();
        if (ends_) server_.leave();
    }

    testing::temporary_folder folder_;
    testing::unique_fd wake_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    std::mutex mutex_;
    std::optional<testing::smtp_rules> next_;
    bool ends_ = false;
    testing::smtp_server server_;
    std::thread thread_;
};

}  // namespace callforward::tests
