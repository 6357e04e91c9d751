#include "tests/support/script_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace callforward::testing {

namespace {

// What a web server might say to a ClientHello: no TLS record by any reading.
constexpr std::string_view garbage = "HTTP/1.1 400 Bad Request\r\n\r\nthis is not TLS\r\n";

std::string_view without_line_end(std::string_view line) {
    if (line.ends_with('\n')) line.remove_suffix(1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

}  // namespace

script_server::script_server(testing::script script, script_server_options options)
    : script_(std::move(script)),
      options_(std::move(options)),
      listener_(listen_on(options_.listen)) {
    const auto identity =
        options_.identity ? *options_.identity : certificate_authority().issue("mx.next.test");
    tls_ = server_context(identity, options_.only_tls_version);
    wake_ = unique_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_) throw std::system_error(errno, std::generic_category(), "eventfd");
    thread_ = std::thread([this] { run(); });
}

script_server::~script_server() {
    stop();
}

void script_server::stop() {
    if (!thread_.joinable()) return;
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);
    thread_.join();
    listener_.reset();
    retired_.clear();
}

void script_server::run() {
    for (;;) {
        std::array<pollfd, 2> waits{{{listener_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
        if (::poll(waits.data(), waits.size(), -1) < 0 && errno != EINTR) return;
        if (waits[1].revents != 0) return;
        unique_fd socket = accept_from(listener_);
        if (!socket) continue;
        {
            const std::lock_guard lock(mutex_);
            ++records_.connections;
        }
        stream peer(std::move(socket), wake_.get());
        play_connection(peer);
    }
}

void script_server::play_connection(stream& peer) {
    const bool cut_here = options_.cut_after && *options_.cut_after <= script_.steps.size();
    const std::size_t end = cut_here ? *options_.cut_after : script_.steps.size();
    if (at_ >= end && !cut_here && (at_ > 0 || !script_.steps.empty())) {
        note_mismatch(nullptr, "a connection more than the script has");
        return;
    }
    const std::size_t begin = at_;
    output_.clear();
    bool goes_on = true;
    while (goes_on && at_ < end) {
        const script_step& step = script_.steps[at_++];
        goes_on = play(step, peer);
        if (goes_on && options_.inject && options_.inject->after == at_) {
            output_ += options_.inject->bytes;
        }
        if (step.kind == step_kind::next) break;
    }
    if (goes_on) goes_on = flush(peer);
    // A client that left too early, or was sent away, goes on with the steps after NEXT.
    while (!goes_on && at_ < end && script_.steps[at_ - 1].kind != step_kind::next) ++at_;
    const bool ended_by_next = at_ > begin && script_.steps[at_ - 1].kind == step_kind::next;
    {
        const std::lock_guard lock(mutex_);
        records_.finished = goes_on && at_ == script_.steps.size();
    }
    const bool cut_now = cut_here && !ended_by_next;
    if (cut_now) at_ = begin;
    if (goes_on && cut_now) {
        retire(peer);
    } else if (goes_on) {
        await_leaving(peer);
    }
}

bool script_server::play(const script_step& step, stream& peer) {
    peer.expires_after(options_.step_time);
    if (step.kind == step_kind::server) {
        output_ += step.text;
        return true;
    }
    if (!flush(peer)) return false;
    switch (step.kind) {
        case step_kind::server:
            return true;
        case step_kind::client:
            return expect_line(step, peer);
        case step_kind::tls:
            return handshake(step, peer);
        case step_kind::tls_garbage:
            // After the ClientHello, because before it the bytes would be plain text behind the
            // 220.
            return peer.skip() == stream_status::ok && send(peer, garbage) == stream_status::ok;
        case step_kind::close:
            retire(peer);
            return true;
        case step_kind::reset:
            close_with_reset(peer.release());
            return true;
        case step_kind::stall:
            static_cast<void>(peer.drain());
            return true;
        case step_kind::next:
            return true;
    }
    return false;
}

bool script_server::expect_line(const script_step& step, stream& peer) {
    std::string line;
    const auto status = peer.read_line(line);
    if (!line.empty()) note_line(line);
    if (status != stream_status::ok) {
        // A test that ends while the client keeps its session is no mismatch; finished() tells.
        if (status != stream_status::woken) note_mismatch(&step, to_string(status));
        return false;
    }
    if (line.ends_with("\r\n") && matches(step, without_line_end(line))) return true;
    note_mismatch(&step,
                  "\"" + escape(line.ends_with("\r\n") ? without_line_end(line) : line) + "\"");
    return false;
}

bool script_server::handshake(const script_step& step, stream& peer) {
    if (!peer.unread().empty()) {
        note_mismatch(&step, "plain text before the handshake: " + escape(peer.unread()));
        return false;
    }
    const auto status = peer.accept_tls(tls_.get());
    const bool done = status == stream_status::ok;
    // A client that does not like the certificate leaves here, as it may where the connection has
    // no further steps.
    const bool may_fail = at_ == script_.steps.size() || script_.steps[at_].kind == step_kind::next;
    if (!done && !may_fail && status != stream_status::woken)
        note_mismatch(&step, to_string(status));
    const std::lock_guard lock(mutex_);
    records_.server_names.push_back(peer.server_name());
    if (done) ++records_.handshakes;
    return done;
}

bool script_server::flush(stream& peer) {
    const std::string bytes = std::exchange(output_, {});
    if (bytes.empty() || peer.descriptor() < 0) return true;
    return send(peer, bytes) == stream_status::ok;
}

stream_status script_server::send(stream& peer, std::string_view bytes) {
    if (!options_.byte_by_byte) return peer.write(bytes);
    for (const char& byte : bytes) {
        const auto status = peer.write({&byte, 1});
        if (status != stream_status::ok) return status;
    }
    return stream_status::ok;
}

void script_server::await_leaving(stream& peer) {
    if (peer.descriptor() < 0) return;
    const auto until = stream::clock::now() + options_.step_time;
    for (;;) {
        // Another connection waiting means that the client goes on there; it may keep this one
        // open.
        std::array<pollfd, 3> waits{{{peer.descriptor(), POLLIN, 0},
                                     {listener_.get(), POLLIN, 0},
                                     {wake_.get(), POLLIN, 0}}};
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(until - stream::clock::now());
        if (left.count() <= 0) return;
        if (peer.unread().empty() &&
            ::poll(waits.data(), waits.size(), static_cast<int>(left.count())) <= 0) {
            return;
        }
        if (waits[2].revents != 0) return;
        if (waits[0].revents == 0 && waits[1].revents != 0 && peer.unread().empty()) break;
        std::string line;
        peer.expires_after(left);
        const auto status = peer.read_line(line);
        if (!line.empty()) note_line(line);
        if (status != stream_status::ok) return;
        if (line != "QUIT\r\n") {
            note_mismatch(nullptr,
                          "\"" + escape(without_line_end(line)) + "\" after the last step");
            return;
        }
        static_cast<void>(send(peer, "221 2.0.0 bye\r\n"));
        break;
    }
    peer.close_notify();
    retire(peer);
}

// FIN now, close() at the end: closing while bytes of the client lie unread would send RST instead.
void script_server::retire(stream& peer) {
    if (peer.descriptor() < 0) return;
    peer.shut_writing();
    retired_.push_back(peer.release());
}

void script_server::note_line(std::string_view line) {
    const std::lock_guard lock(mutex_);
    records_.lines.emplace_back(without_line_end(line));
}

void script_server::note_mismatch(const script_step* step, std::string_view got) {
    std::string text = script_.name + ".smtp";
    if (step != nullptr) {
        text += ":" + std::to_string(step->line) + ": expected \"" + step->source() + "\", got ";
    } else {
        text += ": ";
    }
    const std::lock_guard lock(mutex_);
    records_.mismatches.push_back(text.append(got));
}

std::vector<std::string> script_server::client_lines() const {
    const std::lock_guard lock(mutex_);
    return records_.lines;
}
std::vector<std::string> script_server::mismatches() const {
    const std::lock_guard lock(mutex_);
    return records_.mismatches;
}
std::vector<std::string> script_server::server_names() const {
    const std::lock_guard lock(mutex_);
    return records_.server_names;
}
std::size_t script_server::connections() const {
    const std::lock_guard lock(mutex_);
    return records_.connections;
}
std::size_t script_server::handshakes() const {
    const std::lock_guard lock(mutex_);
    return records_.handshakes;
}
bool script_server::finished() const {
    const std::lock_guard lock(mutex_);
    return records_.finished;
}

}  // namespace callforward::testing
