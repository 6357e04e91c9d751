#include "milter/spare_workers.h"

#include "milter/listening_socket.h"
#include "milter/log.h"
#include "milter/verdicts/digest.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <utility>

namespace callforward::milter {

namespace {

using namespace std::chrono_literals;

constexpr auto between_calls = 3ms;  // a wait that is shorter is no harm
constexpr auto longest_between_calls = 24ms;
constexpr auto between_connects = 10s;
// Also without a wait of ours: a worker may hang in the middle of somebody's packet, and sessions
// that have become ready with it. It keeps our own connections alive, too.
constexpr auto at_least_every = 1s;

// The milter protocol, as far as it is spoken here: a length of four bytes, a command, its data.
constexpr std::string_view negotiation(
    "\0\0\0\x0d"
    "O"
    "\0\0\0\x06"
    "\0\0\0\x01"
    "\0\x1f\xfe\xff",  // all that can be left out, but unknown commands
    17);
constexpr std::size_t reply_to_negotiation = 17;
constexpr std::size_t reply_to_command = 5;

std::string secret_word() {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string word;
    const auto random = verdicts::hash_seed::draw();
    for (std::uint64_t part : {random.first, random.second}) {
        for (int i = 0; i < 16; ++i) {
            word += digits[part & 15U];
            part >>= 4U;
        }
    }
    return word;
}

std::string unknown_command(const std::string& word) {
    const std::size_t length = word.size() + 2;
    std::string frame(3, '\0');
    frame += static_cast<char>(length);
    return (frame += 'U').append(word).append(1, '\0');
}

// True from when a thread has served our command until it has told of a wait: what it took up in
// between had been left waiting, and there may be more.
thread_local bool has_served = false;

}  // namespace

spare_workers::spare_workers() : word_(secret_word()), command_(unknown_command(word_)) {}

spare_workers::~spare_workers() {
    {
        const std::lock_guard lock(mutex_);
        ends_ = true;
    }
    changed_.notify_one();
    if (thread_.joinable()) thread_.join();
    for (line& l : lines_) hang_up(l);
}

void spare_workers::open(const std::string& socket) {
    at_ = socket;
    for (line& l : lines_) l = connected();
    thread_ = std::thread([this] { run(); });
}

// Not under the lock: it may take its time.
spare_workers::line spare_workers::connected() {
    tried_ = clock::now();
    try {
        line l{connect_to(at_), reply_to_negotiation};
        if (!say(l, negotiation)) hang_up(l);
        unreachable_ = false;
        return l;
    } catch (const std::exception& e) {
        if (!std::exchange(unreachable_, true)) {
            log::say(log_level::warning,
                     "cannot connect to the socket that we listen at: under load a RCPT may have "
                     "to wait for the answer to another",
                     {{"why", e.what()}});
        }
        return {};
    }
}

bool spare_workers::say(const line& l, std::string_view bytes) {
    return send(l.socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
           static_cast<ssize_t>(bytes.size());
}

void spare_workers::hang_up(line& l) {
    if (l.socket >= 0) ::close(l.socket);
    l = {};
}

// Takes in what has come; false while the last command is not served, and without a connection.
bool spare_workers::is_free(line& l) {
    std::array<char, 64> replies{};
    while (l.socket >= 0 && l.due > 0) {
        const auto count = recv(l.socket, replies.data(), replies.size(), MSG_DONTWAIT);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno == EAGAIN) return false;
        if (count <= 0 || static_cast<std::size_t>(count) > l.due) {
            hang_up(l);
            return false;
        }
        l.due -= static_cast<std::size_t>(count);
    }
    return l.socket >= 0;
}

// Over one after the other: libmilter ends those that are silent for too long.
void spare_workers::call() {
    for (std::size_t i = 0; i < lines_.size(); ++i) {
        line& l = lines_[next_++ % lines_.size()];
        if (!is_free(l)) continue;
        if (say(l, command_)) {
            l.due = reply_to_command;
            return;
        }
        hang_up(l);
    }
}

void spare_workers::about_to_wait() {
    const bool urgent = std::exchange(has_served, false);
    {
        const std::lock_guard lock(mutex_);
        if (urgent) {
            pause_ = between_calls;
            call();
        }
        if (urgent || wanted_) return;
        wanted_ = true;
    }
    changed_.notify_one();
}

bool spare_workers::serve(std::string_view command) {
    if (command != word_) return false;
    has_served = true;
    return true;
}

void spare_workers::run() {
    std::unique_lock lock(mutex_);
    pause_ = between_calls;
    while (!ends_) {
        const auto quiet_since = clock::now();
        changed_.wait_for(lock, at_least_every, [this] { return wanted_ || ends_; });
        if (clock::now() - quiet_since >= between_calls) pause_ = between_calls;
        changed_.wait_for(lock, pause_, [this] { return ends_; });
        if (ends_) break;
        wanted_ = false;
        pause_ = std::min<std::chrono::milliseconds>(2 * pause_, longest_between_calls);
        call();
        for (line& l : lines_) {
            if (l.socket >= 0 || clock::now() - tried_ < between_connects) continue;
            lock.unlock();
            const line fresh = connected();
            lock.lock();
            l = fresh;
        }
    }
}

}  // namespace callforward::milter
