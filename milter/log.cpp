#include "milter/log.h"

#include "milter/descriptor.h"
#include "milter/log_queue.h"
#include "milter/unix_address.h"

#include <poll.h>
#include <syslog.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <ctime>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>

namespace callforward::milter {

namespace {

using std::chrono::milliseconds;

constexpr std::size_t queue_room = std::size_t{2} * 1024 * 1024;
constexpr milliseconds between_batches{5};
constexpr std::chrono::seconds longest_close{2};

int to_syslog(log_level level) {
    switch (level) {
        case log_level::error:
            return LOG_ERR;
        case log_level::warning:
            return LOG_WARNING;
        case log_level::info:
            return LOG_INFO;
        case log_level::debug:
            return LOG_DEBUG;
    }
    return LOG_INFO;
}

constexpr const char* syslog_path = "/dev/log";  // that syslog(3) writes to

void write_all(std::string_view bytes) {
    while (!bytes.empty()) {
        const auto count = ::write(STDERR_FILENO, bytes.data(), bytes.size());
        if (count >= 0) {
            bytes.remove_prefix(static_cast<std::size_t>(count));
        } else if (errno == EAGAIN) {
            pollfd writable{STDERR_FILENO, POLLOUT, 0};
            poll(&writable, 1, -1);
        } else if (errno != EINTR) {
            return;  // nobody reads any more
        }
    }
}

bool goes_to_syslog(log_target target) {
    switch (target) {
        case log_target::syslog:
            return true;
        case log_target::standard_error:
            return false;
        case log_target::automatic:
            // In a container there is mostly nobody who reads it.
            return isatty(STDERR_FILENO) == 0 && log::is_syslog_at(syslog_path);
    }
    return false;
}

// Appends "2026-01-31T12:00:00.123+01:00". The date is made once a second.
class time_stamp {
public:
    void append(std::string& to, log_queue::time_point when) {
        const auto since = when.time_since_epoch();
        const auto second = std::chrono::duration_cast<std::chrono::seconds>(since);
        const auto rest = std::chrono::duration_cast<milliseconds>(since - second).count();
        if (second != second_ || date_.empty()) {
            const std::time_t seconds = second.count();
            std::tm local{};
            localtime_r(&seconds, &local);
            std::array<char, 32> text{};
            date_.assign(text.data(),
                         strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S.", &local));
            zone_.assign(text.data(), strftime(text.data(), text.size(), "%z", &local));
            if (zone_.size() == 5) zone_.insert(3, 1, ':');
            second_ = second;
        }
        to += date_;
        for (const auto unit : {100, 10, 1}) to += static_cast<char>('0' + rest / unit % 10);
        to += zone_;
    }

private:
    std::chrono::seconds second_{0};
    std::string date_;
    std::string zone_;
};

// The thread that writes, and what it works on. Lives until the process ends: a thread that hangs
// in a full pipe is left behind.
class journal {
public:
    journal() : queue_(queue_room), thread_([this] { run(); }) {}

    // Calls nothing of syslog(3): where nobody reads /dev/log, run() waits there with its lock
    // held.
    void use(const log_settings& settings) {
        to_syslog_ = goes_to_syslog(settings.target);
        look_for_syslog_ = to_syslog_.load();
        format_ = settings.format;
        level_ = settings.level;
    }
    [[nodiscard]] bool takes(log_level level) const { return level <= level_.load(); }
    [[nodiscard]] log_format format() const { return format_; }
    void push(log_level level, std::chrono::system_clock::time_point at, std::string_view text) {
        queue_.push(level, at, text);
    }
    void close() {
        queue_.close();
        std::unique_lock lock(mutex_);
        if (ended_.wait_for(lock, longest_close, [this] { return has_ended_; })) {
            if (thread_.joinable()) thread_.join();
        } else if (thread_.joinable()) {
            thread_.detach();
        }
    }

private:
    void run() {
        log_queue::batch lines;
        while (turn(lines)) queue_.rest(between_batches);
        const std::lock_guard lock(mutex_);
        has_ended_ = true;
        ended_.notify_all();
    }
    // False: the end. Without memory lines are lost, and nothing else.
    bool turn(log_queue::batch& lines) {
        try {
            if (!queue_.take(lines)) return false;
            if (lines.lost() > 0) tell_of_lost(lines.lost());
            lines.for_each([this](const log_queue::line& l) { write(l); });
            write_all(out_);
        } catch (const std::bad_alloc&) {
        }
        out_.clear();
        return true;
    }
    void tell_of_lost(std::size_t count) {
        const std::string text = message_line(format_,
                                              log_level::warning,
                                              "log lines were lost: they came faster than they "
                                              "could be written",
                                              {{"lines", count}});
        write({log_level::warning, std::chrono::system_clock::now(), text});
    }
    void write(const log_queue::line& l) {
        if (to_syslog_) {
            if (look_for_syslog_.exchange(false) && !log::is_syslog_at(syslog_path)) {
                out_ +=
                    "callforward-milter: no syslog at /dev/log: nothing is logged until there is "
                    "one\n";
            }
            syslog(to_syslog(l.level), "%.*s", static_cast<int>(l.text.size()), l.text.data());
            return;
        }
        // A JSON line has to be nothing but JSON: there the time is its first field.
        const bool json = l.text.starts_with('{');
        if (json) out_ += "{\"time\":\"";
        stamp_.append(out_, l.when);
        out_ += json ? "\"," : " ";
        out_.append(json ? l.text.substr(1) : l.text) += '\n';
    }

    std::atomic<bool> to_syslog_{false};
    std::atomic<bool> look_for_syslog_{false};  // at the next line
    std::atomic<log_format> format_{log_format::logfmt};
    std::atomic<log_level> level_{log_level::info};
    log_queue queue_;
    time_stamp stamp_;
    std::string out_;
    std::mutex mutex_;
    std::condition_variable ended_;
    bool has_ended_ = false;
    std::thread thread_;  // last: it uses all of the above
};

journal& the_journal() {
    static auto& one = *new journal;  // never destroyed: threads may log until the very end
    return one;
}

struct closer {
    ~closer() { log::close(); }
};

}  // namespace

bool log::is_syslog_at(const std::string& path) {
    const auto address = unix_address(path);
    if (!address) return false;
    for (const int type : {SOCK_DGRAM, SOCK_STREAM}) {  // as syslog(3) does
        const descriptor probe(::socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        const auto* const generic = reinterpret_cast<const sockaddr*>(&*address);
        if (connect(probe.get(), generic, sizeof *address) == 0 || errno == EAGAIN) return true;
        if (errno != EPROTOTYPE) return false;
    }
    return false;
}

void log::open(const log_settings& settings) {
    the_journal().use(settings);
    static const closer at_exit;
}

void log::say(log_level level, std::string_view message, log_fields with) {
    auto& journal = the_journal();
    if (!journal.takes(level)) return;
    journal.push(level,
                 std::chrono::system_clock::now(),
                 message_line(journal.format(), level, message, with));
}

void log::line(std::string_view formatted, std::chrono::system_clock::time_point at) {
    auto& journal = the_journal();
    if (journal.takes(log_level::info)) journal.push(log_level::info, at, formatted);
}

bool log::takes(log_level level) {
    return the_journal().takes(level);
}

log_format log::format() {
    return the_journal().format();
}

void log::close() {
    the_journal().close();
}

}  // namespace callforward::milter
