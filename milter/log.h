// Where log lines go: syslog (facility mail) or stderr, through a thread of the log's own, so that
// nobody who answers a RCPT waits for a disk or a pipe; when its queue is full the oldest lines are
// lost and counted, never a RCPT.
//
// Each line is logfmt or JSON ([log] format). A message is a constant text for people plus fields;
// field values may be untrusted, they are quoted and escaped so that no value can look like another
// field or another line. A line may come out some milliseconds late: many are written at once.
// Thread: any, once open() has returned.
#pragma once

#include "milter/log_line.h"
#include "milter/settings.h"

#include <chrono>
#include <string>
#include <string_view>

namespace callforward::milter {

class log {
public:
    // The process' log; replaced at a reload when [log] changed. Before the first call lines go to
    // stderr.
    static void open(const log_settings& settings);
    static void say(log_level level, std::string_view message, log_fields with = {});
    // A line of level info that is already formatted, such as log_line.h's. Allocates nothing.
    static void line(std::string_view formatted, std::chrono::system_clock::time_point at);
    [[nodiscard]] static log_format format();
    [[nodiscard]] static bool takes(log_level level);
    // Whether somebody reads the socket at this path.
    [[nodiscard]] static bool is_syslog_at(const std::string& path);
    // Writes what is queued, for two seconds at most, and ends the thread: the last call before the
    // process ends.
    static void close();
};

}  // namespace callforward::milter
