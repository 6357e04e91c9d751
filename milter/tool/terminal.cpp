#include "milter/tool/terminal.h"

#include "milter/standard_files.h"
#include "milter/tool/daemon_client.h"

#include <sys/ioctl.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <iostream>
#include <system_error>

namespace callforward::tool {

namespace {

constexpr std::size_t usual_columns = 80;
constexpr std::size_t usual_rows = 24;

std::string_view sequence(colour c) {
    switch (c) {
        case colour::plain:
            return "";
        case colour::good:
            return "\x1b[32m";
        case colour::warning:
            return "\x1b[33m";
        case colour::bad:
            return "\x1b[31m";
        case colour::faint:
            return "\x1b[2m";
        case colour::strong:
            return "\x1b[1m";
    }
    return "";
}

bool is_continuation(char c) {
    return (static_cast<unsigned char>(c) & 0xc0U) == 0x80U;
}

std::string cut_to(std::string_view text, std::size_t width) {
    constexpr std::size_t dots = 3;
    if (columns(text) <= width) return std::string(text);
    const std::size_t room = width > dots ? width - dots : width;
    std::size_t end = 0;
    for (std::size_t seen = 0; end < text.size(); ++end) {
        if (is_continuation(text[end])) continue;
        if (seen++ == room) break;
    }
    return std::string(text.substr(0, end)) + (width > dots ? "..." : "");
}

winsize size_of_terminal() {
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return {};
    return size;
}

// What COLUMNS says; 0: nothing that is a width.
std::size_t wanted_columns() {
    const char* const said = std::getenv("COLUMNS");
    if (said == nullptr) return 0;
    std::uint16_t number = 0;
    const char* const end = said + std::string_view(said).size();
    const auto [stop, error] = std::from_chars(said, end, number);
    return error == std::errc{} && stop == end ? number : 0;
}

}  // namespace

bool wants_colours() {
    static const bool wants = [] {
        const char* const no = std::getenv("NO_COLOR");
        const char* const term = std::getenv("TERM");
        const bool dumb = term == nullptr || std::string_view(term) == "dumb";
        return isatty(STDOUT_FILENO) != 0 && (no == nullptr || *no == '\0') && !dumb;
    }();
    return wants;
}

std::string in_colour(colour c, std::string_view text, bool colours) {
    if (!colours || c == colour::plain || text.empty()) return std::string(text);
    return std::string(sequence(c)).append(text).append("\x1b[0m");
}

std::string duration_words(std::int64_t seconds) {
    constexpr std::int64_t minute = 60;
    constexpr std::int64_t hour = 60 * minute;
    constexpr std::int64_t day = 24 * hour;
    const auto two = [](std::int64_t n, const char* unit, std::int64_t rest, const char* lesser) {
        std::string text = std::to_string(n) + ' ' + unit;
        if (rest > 0) text += ' ' + std::to_string(rest) + ' ' + lesser;
        return text;
    };
    if (seconds < 0) return "0 s";
    if (seconds < minute) return std::to_string(seconds) + " s";
    if (seconds < hour) return two(seconds / minute, "min", seconds % minute, "s");
    if (seconds < day) return two(seconds / hour, "h", seconds % hour / minute, "min");
    return two(seconds / day, "d", seconds % day / hour, "h");
}

std::size_t columns(std::string_view text) {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return !is_continuation(c); }));
}

std::string left(std::string_view text, std::size_t width) {
    std::string cut = cut_to(text, width);
    return cut.append(width - std::min(width, columns(cut)), ' ');
}

std::string right(std::string_view text, std::size_t width) {
    const std::string cut = cut_to(text, width);
    return std::string(width - std::min(width, columns(cut)), ' ') + cut;
}

std::string cut_line(std::string_view line, std::size_t width) {
    std::string kept;
    std::size_t seen = 0;
    bool in_sequence = false;
    for (const char c : line) {
        in_sequence = in_sequence || c == '\x1b';
        if (!in_sequence && !is_continuation(c)) ++seen;
        if (in_sequence || seen <= width) kept += c;
        if (c == 'm') in_sequence = false;
    }
    return kept;
}

std::size_t terminal_columns() {
    const std::size_t wanted = wanted_columns();
    if (wanted != 0) return wanted;
    const winsize size = size_of_terminal();
    return size.ws_col == 0 ? usual_columns : size.ws_col;
}

std::size_t output_columns() {
    const bool is_bounded = isatty(STDOUT_FILENO) != 0 || wanted_columns() != 0;
    return is_bounded ? terminal_columns() : 0;
}

std::size_t terminal_rows() {
    const winsize size = size_of_terminal();
    return size.ws_row == 0 ? usual_rows : size.ws_row;
}

void finish_output() {
    const std::string wrong = milter::flush_output();
    if (!wrong.empty()) throw tool_error(EX_IOERR, wrong);
}

progress_bar::progress_bar(std::string what, std::uint64_t total)
    : what_(std::move(what)), total_(total), shown_(isatty(STDERR_FILENO) != 0) {}

progress_bar::~progress_bar() {
    if (shown_ && last_ != std::chrono::steady_clock::time_point{}) std::cerr << "\r\x1b[K";
}

void progress_bar::at(std::uint64_t done) {
    constexpr std::chrono::milliseconds between{100};
    constexpr std::uint64_t width = 40;
    const auto now = std::chrono::steady_clock::now();
    if (!shown_ || now - last_ < between) return;
    last_ = now;
    const std::uint64_t part = total_ == 0 ? 0 : std::min(width, done * width / total_);
    std::cerr << '\r' << what_ << " [" << std::string(part, '#') << std::string(width - part, '.')
              << "] " << (total_ == 0 ? 0 : std::min<std::uint64_t>(100, done * 100 / total_))
              << "%\x1b[K" << std::flush;
}

}  // namespace callforward::tool
