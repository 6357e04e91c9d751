// A child program under test, in a process group of its own, its standard output and error read
// into memory.
//
// One thread reads the output; every wait has a bound. The destructor kills the whole group, so
// that a failed test leaves nothing running. A program that can not be started throws
// std::system_error. Output beyond 64 MiB is read and dropped.
#pragma once

#include "tests/support/socket.h"

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace callforward::testing {

class process {
public:
    using environment = std::map<std::string, std::string>;

    // arguments[0] is the program, searched in PATH. The environment is ours plus and over it the
    // given one.
    explicit process(const std::vector<std::string>& arguments, const environment& additional = {});
    ~process();
    process(const process&) = delete;
    process& operator=(const process&) = delete;

    [[nodiscard]] pid_t id() const { return id_; }

    // The first whole line that contains text and begins at or after the offset from; waits for it.
    // Nothing when the time is up, or as soon as the output has ended without it.
    [[nodiscard]] std::optional<std::string> wait_for(
        std::string_view text,
        std::chrono::milliseconds at_most = std::chrono::seconds(30),
        std::size_t from = 0) const;
    [[nodiscard]] std::string output() const;
    [[nodiscard]] std::size_t output_size()
        const;  // an offset for wait_for(): what comes from now on

    void send_signal(int number) const;  // to the program alone
    void send_signal_to_group(int number) const;
    // Its exit code, or 128 plus the signal that ended it, as shells have it.
    [[nodiscard]] std::optional<int> wait_for_exit(
        std::chrono::milliseconds at_most = std::chrono::seconds(30));

private:
    void read_output(int pipe);
    bool reap(bool block);

    pid_t id_ = -1;
    std::optional<int> exit_;
    unique_fd pipe_;
    unique_fd
        wake_;  // an eventfd, so that the reader ends though a stray grandchild holds the pipe
    mutable std::mutex mutex_;
    mutable std::condition_variable grown_;
    std::string output_;  // guarded by mutex_
    bool ended_ = false;  // guarded by mutex_
    std::thread reader_;
};

}  // namespace callforward::testing
