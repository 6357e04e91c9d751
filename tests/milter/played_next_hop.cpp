#include "tests/milter/played_next_hop.h"

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace callforward::tests {

namespace {

std::string written(const std::string& file, std::string_view text) {
    std::ofstream(file, std::ios::binary) << text;
    return file;
}

}  // namespace

played_next_hop::played_next_hop(std::string_view rules)
    : log_(folder_.file("log")),
      server_({CALLFORWARD_TEST_SMTP_SERVER,
               "--listen",
               "127.0.0.1:0",
               "--log",
               log_,
               written(folder_.file("rules"), rules)}) {
    const auto line = server_.wait_for("listening 127.0.0.1:");
    if (!line) throw std::runtime_error("test-smtp-server: " + server_.output());
    route_ = "[127.0.0.1]" + line->substr(line->rfind(':'));
}

void played_next_hop::use(std::string_view rules) {
    written(folder_.file("rules"), rules);
    const std::size_t before = server_.output_size();
    server_.send_signal(SIGHUP);
    if (!server_.wait_for("reloaded", std::chrono::seconds(30), before)) {
        throw std::runtime_error("test-smtp-server: " + server_.output());
    }
}

std::vector<std::string> played_next_hop::events() const {
    std::vector<std::string> lines;
    std::ifstream in(log_);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
}

std::size_t played_next_hop::count(std::string_view beginning) const {
    const auto all = events();
    return static_cast<std::size_t>(std::count_if(
        all.begin(), all.end(), [&](const auto& line) { return line.starts_with(beginning); }));
}

bool played_next_hop::wait_for(std::string_view beginning, std::size_t times) const {
    using namespace std::chrono_literals;
    for (const auto limit = std::chrono::steady_clock::now() + 30s;
         std::chrono::steady_clock::now() < limit;
         std::this_thread::sleep_for(5ms)) {
        if (count(beginning) >= times) return true;
    }
    return false;
}

}  // namespace callforward::tests
