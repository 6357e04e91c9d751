// Lines on their way from those who log to the one thread that writes.
//
// push() copies a line and never waits for the reader: when there is no room the oldest lines go,
// and are counted. All memory is taken at the start. A line is kept up to longest_line bytes. Safe
// to use from any thread; one reader.
#pragma once

#include "milter/settings.h"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::milter {

class log_queue {
public:
    static constexpr std::size_t longest_line = std::size_t{64} * 1024;
    using time_point = std::chrono::system_clock::time_point;

    struct line {
        log_level level = log_level::info;
        time_point when;
        std::string_view text;
    };
    // What take() hands out; its memory is used again.
    class batch {
    public:
        [[nodiscard]] bool empty() const { return bytes_.empty(); }
        [[nodiscard]] std::size_t lost() const { return lost_; }  // before these lines
        // Calls each(line) in the order of the lines.
        template <class Each>
        void for_each(Each each) const {
            for (std::string_view rest = bytes_; !rest.empty();) each(take_line(rest));
        }

    private:
        friend class log_queue;
        [[nodiscard]] static line take_line(std::string_view& rest);
        std::string bytes_;
        std::size_t lost_ = 0;
    };

    // room: bytes for lines and what is kept with them; more than one longest line.
    explicit log_queue(std::size_t room);

    void push(log_level level, time_point when, std::string_view text);
    // Waits for lines, and takes some. False: close() was called, and there are none.
    [[nodiscard]] bool take(batch& into);
    // Not before so long, unless the queue is half full or closed: many lines for one wake-up.
    void rest(std::chrono::milliseconds at_most);
    void close();

private:
    struct head {
        std::size_t size;
        log_level level;
        time_point when;
    };
    void put(const char* bytes, std::size_t count);
    void look(char* bytes, std::size_t count) const;  // at the oldest
    void drop(std::size_t count);
    [[nodiscard]] head front() const;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<char> ring_;
    std::size_t begin_ = 0;  // of the oldest line
    std::size_t used_ = 0;
    std::size_t lost_ = 0;
    bool reader_waits_ = false;
    bool closed_ = false;
};

}  // namespace callforward::milter
