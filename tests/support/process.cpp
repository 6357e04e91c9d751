#include "tests/support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <stdexcept>
#include <system_error>

namespace callforward::testing {

namespace {

constexpr std::size_t largest_output = 64 * 1024 * 1024;

std::vector<std::string> merged_environment(const process::environment& additional) {
    process::environment all = additional;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string_view text = *entry;
        const auto equals = text.find('=');
        if (equals == std::string_view::npos) continue;
        all.emplace(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
    }
    std::vector<std::string> lines;
    for (const auto& [name, value] : all) lines.push_back(name + "=" + value);
    return lines;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> result;
    for (auto& text : texts) result.push_back(text.data());
    result.push_back(nullptr);
    return result;
}

pid_t spawn(const std::vector<std::string>& arguments,
            const process::environment& additional,
            int output) {
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, output, STDERR_FILENO);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setpgroup(&attributes, 0);
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    sigaddset(&signals, SIGPIPE);  // ignored in test programs, which the child must not inherit
    posix_spawnattr_setsigdefault(&attributes, &signals);

    std::vector<std::string> texts = arguments;
    std::vector<std::string> variables = merged_environment(additional);
    std::vector<char*> argv = pointers(texts);
    std::vector<char*> envp = pointers(variables);
    pid_t id = -1;
    const int error = ::posix_spawnp(&id, argv[0], &files, &attributes, argv.data(), envp.data());
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    if (error != 0) throw std::system_error(error, std::generic_category(), arguments.front());
    return id;
}

}  // namespace

process::process(const std::vector<std::string>& arguments, const environment& additional) {
    if (arguments.empty()) throw std::invalid_argument("a process needs a program");
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        throw std::system_error(errno, std::generic_category(), "pipe");
    }
    pipe_ = unique_fd(ends[0]);
    const unique_fd writing(ends[1]);
    wake_ = unique_fd(::eventfd(0, EFD_CLOEXEC));
    if (!wake_) throw std::system_error(errno, std::generic_category(), "eventfd");
    id_ = spawn(arguments, additional, writing.get());
    reader_ = std::thread([this] { read_output(pipe_.get()); });
}

process::~process() {
    send_signal_to_group(SIGKILL);
    reap(true);
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);
    reader_.join();
}

void process::read_output(int pipe) {
    std::array<char, 4096> buffer{};
    std::array<pollfd, 2> waits{{{pipe, POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
    for (;;) {
        if (::poll(waits.data(), waits.size(), -1) < 0 && errno != EINTR) break;
        if (waits[0].revents == 0 && waits[1].revents != 0) break;
        if (waits[0].revents == 0) continue;
        const ssize_t n = ::read(pipe, buffer.data(), buffer.size());
        if (n <= 0) break;
        const std::lock_guard lock(mutex_);
        if (output_.size() < largest_output) {
            output_.append(buffer.data(), static_cast<std::size_t>(n));
        }
        grown_.notify_all();
    }
    const std::lock_guard lock(mutex_);
    ended_ = true;
    grown_.notify_all();
}

std::optional<std::string> process::wait_for(std::string_view text,
                                             std::chrono::milliseconds at_most,
                                             std::size_t from) const {
    const auto deadline = std::chrono::steady_clock::now() + at_most;
    std::unique_lock lock(mutex_);
    std::size_t begin = from;
    for (;;) {
        for (auto end = output_.find('\n', begin); end != std::string::npos;
             end = output_.find('\n', begin)) {
            const auto line = std::string_view(output_).substr(begin, end - begin);
            if (line.find(text) != std::string_view::npos) return std::string(line);
            begin = end + 1;
        }
        if (ended_) return std::nullopt;
        const auto known = output_.size();
        const auto more = [&] { return ended_ || output_.size() > known; };
        if (!grown_.wait_until(lock, deadline, more)) return std::nullopt;
    }
}

std::string process::output() const {
    const std::lock_guard lock(mutex_);
    return output_;
}

std::size_t process::output_size() const {
    const std::lock_guard lock(mutex_);
    return output_.size();
}

void process::send_signal(int number) const {
    if (!exit_) ::kill(id_, number);
}

void process::send_signal_to_group(int number) const {
    ::kill(-id_, number);
}

bool process::reap(bool block) {
    if (exit_) return true;
    int status = 0;
    pid_t waited = -1;
    do {
        waited = ::waitpid(id_, &status, block ? 0 : WNOHANG);
    } while (waited < 0 && errno == EINTR);
    if (waited == 0) return false;
    exit_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
}

std::optional<int> process::wait_for_exit(std::chrono::milliseconds at_most) {
    // A pidfd would wake at once; polling in small steps needs nothing of the kernel and is exact
    // enough for tests.
    const auto deadline = std::chrono::steady_clock::now() + at_most;
    while (!reap(false)) {
        if (std::chrono::steady_clock::now() >= deadline) return std::nullopt;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return exit_;
}

}  // namespace callforward::testing
