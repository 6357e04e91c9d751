#include "milter/tool/status_command.h"

#include "milter/tool/terminal.h"

#include <sysexits.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <iostream>

namespace callforward::tool {

namespace {

constexpr std::size_t label = 16;
constexpr std::size_t number = 13;
constexpr std::array spans{"last_minute", "last_hour", "since_start"};

std::int64_t number_at(const json& j, const char* name) {
    const auto found = j.find(name);
    return found != j.end() && found->is_number() ? found->get<std::int64_t>() : 0;
}

colour colour_of_class(std::string_view name) {
    if (name == "deliverable") return colour::good;
    if (name == "undeliverable" || name == "sender_refused") return colour::bad;
    return name == "skipped" ? colour::faint : colour::warning;
}

std::string written(const char* format, double value) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), format, value);
    return text.data();
}

// From 10 on in whole numbers: %g would go over to exponents before 100.
const char* two_digits(double value) {
    constexpr double large = 9.95;
    return value >= large ? "%.0f" : "%.2g";
}

std::string in_milliseconds(const json& value) {
    if (!value.is_number()) return "-";
    const double ms = value.get<double>();
    return written(two_digits(ms), ms);
}

// 100 is all of them, and nothing less.
std::string in_percent(double part) {
    constexpr double hundred = 100;
    constexpr double nearly_all = 99.0;
    constexpr double most = 99.9;
    const double percent = part * hundred;
    if (percent > nearly_all && percent < hundred) return written("%.1f", std::min(percent, most));
    return written(two_digits(percent), percent);
}

std::string row(std::string_view name, const json& status, auto value) {
    std::string line = left(name, label);
    for (const char* const span : spans) line += right(value(status.at(span)), number);
    return line + '\n';
}

std::string verdict_rows(const json& status, bool colours) {
    std::string text = in_colour(colour::faint,
                                 left("", label) + right("last minute", number) +
                                     right("last hour", number) + right("since start", number),
                                 colours) +
                       '\n';
    for (const auto& item : status.at("since_start").at("classes").items()) {
        const std::string& name = item.key();
        const std::string line =
            row(name, status, [&](const json& span) { return span.at("classes").at(name).dump(); });
        text += item.value() == 0 ? line : in_colour(colour_of_class(name), line, colours);
    }
    text += in_colour(colour::strong,
                      row("all", status, [](const json& span) { return span.at("total").dump(); }),
                      colours);
    text += row("from the cache", status, [](const json& span) {
        return in_percent(span.at("hit_ratio").get<double>()) + " %";
    });
    for (const auto& [name, key] :
         {std::pair{"answers, ms", "answer_ms"}, std::pair{"probes, ms", "probe_ms"}}) {
        text += row(name, status, [key = key](const json& span) {
            const json& times = span.at(key);
            return in_milliseconds(times.at("p50")) + " / " + in_milliseconds(times.at("p99"));
        });
    }
    return text + in_colour(colour::faint, "Times: half of all within / 99 % within.", colours) +
           '\n';
}

// Which only the next start takes: "milter.socket, cache.store".
std::string keys_that_wait(const json& told) {
    std::string all;
    for (const json& key : told.value("restart_needed", json::array())) {
        all += (all.empty() ? "" : ", ") + key.get<std::string>();
    }
    return all;
}

std::string configuration_text(const json& status, bool colours) {
    const json& c = status.at("configuration");
    const std::string file = text_at(c, "file");
    std::string text = left("configuration", label) +
                       (file.empty() ? "none (built-in defaults)" : file) + ", read " +
                       duration_words(number_at(c, "age_s")) + " ago\n";
    if (const std::string error = text_at(c, "last_error"); !error.empty()) {
        text += left("", label) +
                in_colour(colour::bad,
                          "the last reload failed " +
                              duration_words(number_at(c, "last_error_ago_s")) + " ago:",
                          colours) +
                '\n' + error + '\n';
    }
    if (const std::string keys = keys_that_wait(c); !keys.empty()) {
        text += left("", label) + in_colour(colour::warning, "the next start takes: ", colours) +
                keys + '\n';
    }
    return text;
}

// Of a shared store it is not known.
std::string stored_words(const json& cache) {
    const std::string stored = text_at(cache, "stored");
    return stored.empty() ? ", shared" : ", " + stored + " stored";
}

std::string cache_text(const json& status, bool colours) {
    const json& c = status.at("cache");
    const json& m = c.at("memory");
    std::string text = left("cache", label) + text_at(c, "store") + stored_words(c) + '\n';
    text += left("", label) + "in memory " + text_at(m, "deliverable") + " deliverable, " +
            text_at(m, "undeliverable") + " undeliverable, " + text_at(m, "undetermined") +
            " undetermined\n";
    text += left("", label) + text_at(c, "evictions") + " put out of memory for want of room\n";
    if (const std::string error = text_at(c, "store_error"); !error.empty()) {
        text += left("", label) + in_colour(colour::bad, error, colours) + '\n';
    }
    if (c.value("unwritten", 0) > 0) {
        const std::string waiting = text_at(c, "unwritten") + " changes wait for it";
        text += left("", label) + in_colour(colour::warning, waiting, colours) + '\n';
    }
    return text;
}

std::string place_of(const json& host) {
    const std::string port = text_at(host, "port");
    std::string where = text_at(host, "host");
    if (where.find(':') != std::string::npos) where = '[' + where + ']';
    if (!port.empty()) where += ':' + port;
    const std::string protocol = text_at(host, "protocol");
    return protocol == "smtp" ? where : protocol + ':' + where;
}

std::string trouble_text(const json& status, bool colours) {
    const json& hosts = status.at("hosts");
    const json& trouble = status.at("hosts_in_trouble");
    std::string text = left("next hops", label) + text_at(hosts, "known") + " known, " +
                       std::to_string(trouble.size()) + " in trouble\n";
    for (const json& h : trouble) {
        text += left("", label) + in_colour(colour::bad, place_of(h), colours) +
                ", left alone for " + duration_words(number_at(h, "penalty_s")) + ": " +
                text_at(h, "last_error") + '\n';
    }
    for (const json& lock : status.at("interlocks")) {
        const bool closed = lock.value("closed", false);
        text += left("interlock", label) + text_at(lock, "domain") + ": ";
        const std::string words =
            closed ? "closed for " + duration_words(number_at(lock, "closed_for_s")) +
                         "; unknown recipients are put off"
                   : text_at(lock, "flips") + " formerly deliverable addresses refused";
        text += in_colour(closed ? colour::bad : colour::warning, words, colours) + '\n';
    }
    return text;
}

struct host_columns {
    std::size_t place;
    std::size_t error;
};

std::string host_line(const json& h, const host_columns& widths, bool colours) {
    const json& s = h.at("sessions");
    const std::string state = text_at(h, "state");
    const std::string sessions =
        text_at(s, "busy") + '+' + text_at(s, "idle") + '/' + text_at(h, "most_sessions");
    const colour shade = state == "penalty" ? colour::bad
                         : state == "up"    ? colour::good
                                            : colour::plain;
    std::string error = text_at(h, "last_error");
    if (!error.empty()) error = duration_words(number_at(h, "last_error_ago_s")) + " ago: " + error;
    const std::size_t domains = h.at("catch_all").size();
    if (domains > 0) {
        error = "accepts anyone at " + h.at("catch_all").front().get<std::string>() +
                (domains > 1 ? " and " + std::to_string(domains - 1) + " more" : "") +
                (error.empty() ? "" : "; " + error);
    }
    if (h.value("rejects_late", false)) {
        error = "refuses at DATA: set probe_until = \"data\"" + (error.empty() ? "" : "; " + error);
    }
    return left(place_of(h), widths.place) + ' ' + in_colour(shade, left(state, 7), colours) + ' ' +
           right(sessions, 8) + right(text_at(h, "in_flight"), 5) +
           right(text_at(h, "waiting"), 6) +
           right(h.at("latency_ms").is_null() ? "-" : text_at(h, "latency_ms"), 6) + "  " +
           (widths.error == 0 ? error : left(error, widths.error));
}

std::string trimmed(std::string line) {
    line.erase(line.find_last_not_of(' ') + 1);
    return line;
}

// width 0: as wide as it comes. Else the place has up to half of what the other columns leave.
host_columns widths_for(const json& hosts, std::size_t width) {
    constexpr std::size_t fixed = 37;  // of all columns but the first and the last
    constexpr std::size_t least = 40;
    std::size_t place = columns("next hop");
    for (const json& h : hosts.at("hosts")) place = std::max(place, columns(place_of(h)));
    if (width == 0) return {place, 0};
    const std::size_t room = std::max(width, fixed + least) - fixed;
    place = std::min(place, room / 2);
    return {place, room - place};
}

}  // namespace

std::string status_text(const json& status, bool colours) {
    std::string text =
        in_colour(colour::strong, "callforward-milter " + text_at(status, "version"), colours) +
        ", up " + duration_words(number_at(status, "uptime_s")) + ", process " +
        text_at(status, "pid") + '\n';
    text += configuration_text(status, colours);
    text += '\n' + verdict_rows(status, colours) + '\n';
    text += left("pending", label) + text_at(status, "pending") + " call-forwards under way\n";
    return text + cache_text(status, colours) + trouble_text(status, colours);
}

std::string hosts_text(const json& hosts, std::size_t width, bool colours) {
    const host_columns widths = widths_for(hosts, width);
    std::string text = in_colour(colour::faint,
                                 trimmed(left("next hop", widths.place) + ' ' + left("state", 7) +
                                         ' ' + right("sessions", 8) + right("asks", 5) +
                                         right("waits", 6) + right("ms", 6) + "  last error"),
                                 colours) +
                       '\n';
    for (const json& h : hosts.at("hosts")) text += trimmed(host_line(h, widths, colours)) + '\n';
    if (!hosts.value("complete", true)) {
        text +=
            in_colour(colour::warning, "Not all: a thread was too busy to answer.", colours) + '\n';
    }
    return text;
}

std::string top_text(
    const json& status, const json& hosts, std::size_t width, std::size_t rows, bool colours) {
    std::string all =
        in_colour(colour::strong, "callforward-milter " + text_at(status, "version"), colours) +
        ", up " + duration_words(number_at(status, "uptime_s")) + ", " +
        text_at(status, "pending") + " pending" + stored_words(status.at("cache")) + "; q ends\n";
    all += verdict_rows(status, colours) + '\n' + hosts_text(hosts, width, colours);
    std::string screen;
    std::size_t lines = 0;
    for (std::size_t begin = 0; lines < rows; ++lines) {
        const auto end = begin < all.size() ? all.find('\n', begin) : std::string::npos;
        if (end != std::string::npos) {
            screen += cut_line(std::string_view(all).substr(begin, end - begin), width);
        }
        screen += "\x1b[K";
        if (lines + 1 < rows) screen += "\r\n";
        begin = end == std::string::npos ? all.size() : end + 1;
    }
    return screen;
}

int run_status(const daemon_options& o) {
    const json status = daemon_client(o).get("/v1/status");
    std::cout << (o.json ? status.dump() + '\n' : status_text(status, wants_colours()));
    return EX_OK;
}

int run_hosts(const daemon_options& o) {
    const json hosts = daemon_client(o).get("/v1/hosts");
    std::cout << (o.json ? hosts.dump() + '\n'
                         : hosts_text(hosts, output_columns(), wants_colours()));
    return EX_OK;
}

int run_reload(const daemon_options& o) {
    const json result = daemon_client(o).post("/v1/reload", json::object());
    if (o.json) {
        std::cout << result.dump() << '\n';
        return EX_OK;
    }
    const std::string keys = keys_that_wait(result);
    std::cout << "The configuration was read again and is in use"
              << (keys.empty() ? "." : ", but for what takes effect at the next start: " + keys)
              << '\n';
    return EX_OK;
}

}  // namespace callforward::tool
