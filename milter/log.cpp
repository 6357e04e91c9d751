#include "milter/log.h"

#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <syslog.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <mutex>

namespace callforward::milter {

namespace {

constexpr std::size_t queue_length = 8192;

struct current {
    std::mutex mutex;
    std::shared_ptr<spdlog::logger> logger;  // spdlog's own way to hand out loggers
    log_settings settings;                   // of logger
    std::atomic<log_format> format{log_format::logfmt};
};

current& the_log() {
    static current one;
    return one;
}

spdlog::level::level_enum to_spdlog(log_level level) {
    switch (level) {
        case log_level::error:
            return spdlog::level::err;
        case log_level::warning:
            return spdlog::level::warn;
        case log_level::info:
            return spdlog::level::info;
        case log_level::debug:
            return spdlog::level::debug;
    }
    return spdlog::level::info;
}

bool goes_to_syslog(log_target target) {
    switch (target) {
        case log_target::syslog:
            return true;
        case log_target::standard_error:
            return false;
        case log_target::automatic:
            return isatty(STDERR_FILENO) == 0;
    }
    return false;
}

std::shared_ptr<spdlog::logger> make_logger(const log_settings& settings) {
    spdlog::sink_ptr sink;
    if (goes_to_syslog(settings.target)) {
        sink = std::make_shared<spdlog::sinks::syslog_sink_mt>(
            "callforward-milter", LOG_PID, LOG_MAIL, true);
        sink->set_pattern("%v");
    } else {
        sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
        // A JSON line has to be nothing but JSON.
        sink->set_pattern(settings.format == log_format::json ? "%v" : "%Y-%m-%dT%H:%M:%S.%e%z %v");
    }
    if (!spdlog::thread_pool()) spdlog::init_thread_pool(queue_length, 1);
    auto logger =
        std::make_shared<spdlog::async_logger>("callforward",
                                               std::move(sink),
                                               spdlog::thread_pool(),
                                               spdlog::async_overflow_policy::overrun_oldest);
    logger->set_level(to_spdlog(settings.level));
    logger->flush_on(spdlog::level::info);
    return logger;
}

std::shared_ptr<spdlog::logger> logger() {
    auto& log = the_log();
    const std::lock_guard lock(log.mutex);
    if (!log.logger) {
        log_settings to_stderr;
        to_stderr.target = log_target::standard_error;
        log.logger = make_logger(to_stderr);
        log.settings = to_stderr;
    }
    return log.logger;
}

}  // namespace

void log::open(const log_settings& settings) {
    auto& log = the_log();
    const std::lock_guard lock(log.mutex);
    if (log.logger && log.settings == settings) return;
    log.logger = make_logger(settings);
    log.settings = settings;
    log.format = settings.format;
}

void log::say(log_level level, std::string_view message, log_fields with) {
    logger()->log(to_spdlog(level), "{}", message_line(the_log().format, level, message, with));
}

void log::line(std::string_view formatted) {
    logger()->log(spdlog::level::info, "{}", formatted);
}

log_format log::format() {
    return the_log().format;
}

void log::close() {
    auto& log = the_log();
    {
        const std::lock_guard lock(log.mutex);
        log.logger.reset();
    }
    spdlog::shutdown();
}

}  // namespace callforward::milter
