// Where log lines go: syslog (facility mail) or stderr, through spdlog's background thread, so that
// nobody who answers a RCPT waits for a disk or a pipe; when the queue is full the oldest lines are
// lost, never a RCPT.
//
// Each line is logfmt or JSON ([log] format). A message is a constant text for people plus fields;
// field values may be untrusted, they are quoted and escaped so that no value can look like another
// field or another line. Thread: any, once open() has returned.
#pragma once

#include "milter/log_line.h"
#include "milter/settings.h"

#include <string_view>

namespace callforward::milter {

class log {
public:
    // The process' log; replaced at a reload when [log] changed. Before the first call lines go to
    // stderr.
    static void open(const log_settings& settings);
    static void say(log_level level, std::string_view message, log_fields with = {});
    // A line that is already formatted, such as log_line.h's.
    static void line(std::string_view formatted);
    [[nodiscard]] static log_format format();
    // Writes what is queued, and ends the background thread: the last call before the process ends.
    static void close();
};

}  // namespace callforward::milter
