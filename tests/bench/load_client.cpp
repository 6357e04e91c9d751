#include "tests/bench/load_client.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <vector>

namespace callforward::bench {

namespace {

constexpr std::chrono::milliseconds moment{10};

}  // namespace

void client::open() {
    address_ = 0x7f100000U + (++run_.sessions & 0xfffffU);
    fd_ = connect_to(run_.target, address_);
    input_.clear();
    out_.clear();
    outstanding_ = in_session_ = in_transaction_ = 0;
    established_ = false;
    if (!fd_.open()) {
        group_.failed();
        again();
        return;
    }
    wants_out_ = true;
    run_.poller.add(fd_.get(), *this, EPOLLIN | EPOLLOUT);
}

void client::again() {
    run_.waiting.emplace_back(clock::now() + moment, this);
}

void client::close() {
    if (!fd_.open()) return;
    run_.poller.remove(fd_.get(), *this);
    fd_.reset();
}

void client::finish() {
    close();
    if (!finished_) ++run_.done;
    finished_ = true;
}

void client::broken() {
    if (outstanding_ > 0)
        group_.lost();
    else
        group_.failed();
    close();
    again();
}

void client::go() {
    if (at_barrier_) ask();
}

void client::ready() {
    if (run_.going) {
        ask();
        return;
    }
    if (!at_barrier_) ++run_.at_barrier;
    at_barrier_ = true;
}

void client::ask() {
    const auto& options = group_.options();
    const bool enough = options.each != 0 && asked_ >= options.each;
    if (enough || group_.exhausted()) {
        finish();
        return;
    }
    sent_ = clock::now();
    const unsigned together = options.batch == 0 ? 1 : options.batch;
    asked_ += together;
    outstanding_ = together;
    for (unsigned i = 0; i < together; ++i) send_recipient(group_.next());
    if (wants_out_ == out_.empty() && fd_.open()) {
        wants_out_ = !out_.empty();
        run_.poller.change(fd_.get(), *this, wants_out_ ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

void client::send(std::string_view bytes) {
    // A broken connection shows when it is read.
    if (fd_.open()) static_cast<void>(out_.write(fd_.get(), bytes));
}

void client::answered(int code) {
    group_.answered(code, clock::now() - sent_);
    if (outstanding_ > 0) --outstanding_;
    ++in_session_;
    ++in_transaction_;
    if (outstanding_ > 0) return;
    const auto& options = group_.options();
    const bool session_over = options.session != 0 && in_session_ >= options.session;
    if (code == 421 || session_over) {
        send_quit();
        close();
        open();
    } else if (options.batch == 0 && in_transaction_ >= options.transaction) {
        in_transaction_ = 0;
        begin_transaction();
    } else {
        ask();
    }
}

void client::on_event(std::uint32_t events) {
    if ((events & EPOLLOUT) != 0 && (events & (EPOLLERR | EPOLLHUP)) == 0) {
        if (!established_) {
            established_ = true;
            group_.connected();
            connected();
        }
        static_cast<void>(out_.flush(fd_.get()));
        if (out_.empty() && wants_out_) {
            wants_out_ = false;
            run_.poller.change(fd_.get(), *this, EPOLLIN);
        }
    }
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) == 0) return;
    static std::vector<char> buffer(std::size_t{64} * 1024);
    const ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        broken();
        return;
    }
    if (got < 0) return;
    input_.append(buffer.data(), static_cast<std::size_t>(got));
    std::string input = std::move(input_);
    input_.clear();
    std::string_view rest = input;
    const int before = fd_.get();
    const std::uint32_t session = address_;
    received(rest);
    // What is left belongs to this connection only, not to one that has followed it.
    if (fd_.open() && fd_.get() == before && address_ == session) input_ = rest;
}

}  // namespace callforward::bench
