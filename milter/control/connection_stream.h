// One accepted connection, for http_server.cpp: reads and writes end by a deadline.
//
// read_head() takes in a request's head before anybody parses it. One thread.
#pragma once

#include <httplib.h>

#include <chrono>
#include <cstddef>
#include <string>

namespace callforward::milter::control {

class connection_stream final : public httplib::Stream {
public:
    connection_stream(int descriptor, std::chrono::milliseconds patience);  // owns it
    ~connection_stream() override;
    connection_stream(const connection_stream&) = delete;
    connection_stream& operator=(const connection_stream&) = delete;

    // 0 when the head is here; else the HTTP status to say why not, or -1 to say nothing.
    [[nodiscard]] int read_head();
    void say(int status);  // a response without a body

    [[nodiscard]] bool is_readable() const override;
    [[nodiscard]] bool is_writable() const override;
    ssize_t read(char* into, std::size_t size) override;
    ssize_t write(const char* from, std::size_t size) override;
    // "uid N" and the process for a unix socket.
    void get_remote_ip_and_port(std::string& ip, int& port) const override;
    void get_local_ip_and_port(std::string& ip, int& port) const override;
    [[nodiscard]] int socket() const override { return descriptor_; }

private:
    using clock = std::chrono::steady_clock;
    [[nodiscard]] bool wait_for(short event, clock::time_point until) const;

    int descriptor_;
    std::chrono::milliseconds patience_;
    clock::time_point read_by_;
    std::string unread_;
    std::size_t taken_ = 0;
};

}  // namespace callforward::milter::control
