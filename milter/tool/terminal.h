// How the tool speaks to a person: colours where a terminal shows them, times and numbers in words,
// a bar for what takes long.
//
// Colours only when standard output is a terminal, NO_COLOR is unset and TERM is not "dumb". The
// bar goes to standard error, and only to a terminal.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace callforward::tool {

enum class colour { plain, good, warning, bad, faint, strong };

// Whether standard output wants colours; said once at the start.
[[nodiscard]] bool wants_colours();
[[nodiscard]] std::string in_colour(colour c,
                                    std::string_view text,
                                    bool colours = wants_colours());

[[nodiscard]] std::string duration_words(std::int64_t seconds);  // "2 h 13 min"
// Seen on a screen: UTF-8 characters, each one column.
[[nodiscard]] std::size_t columns(std::string_view text);
// Padded or cut ("...") to a width.
[[nodiscard]] std::string left(std::string_view text, std::size_t width);
[[nodiscard]] std::string right(std::string_view text, std::size_t width);
// Without what is beyond a width; its colours stay and count for nothing.
[[nodiscard]] std::string cut_line(std::string_view line, std::size_t width);
// Of standard output, or what COLUMNS says; 80 where a terminal does not tell.
[[nodiscard]] std::size_t terminal_columns();
// The same; 0, no bound, where it is no terminal and COLUMNS says nothing.
[[nodiscard]] std::size_t output_columns();
[[nodiscard]] std::size_t terminal_rows();  // 24 where it has none

// What was printed is where it was to go. Throws tool_error (74) where it is not.
void finish_output();

class progress_bar {
public:
    progress_bar(std::string what, std::uint64_t total);
    ~progress_bar();  // takes the bar away
    progress_bar(const progress_bar&) = delete;
    progress_bar& operator=(const progress_bar&) = delete;
    void at(std::uint64_t done);

private:
    std::string what_;
    std::uint64_t total_;
    bool shown_;
    std::chrono::steady_clock::time_point last_;
};

}  // namespace callforward::tool
