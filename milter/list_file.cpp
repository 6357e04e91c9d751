#include "milter/list_file.h"

#include "milter/bounded_file.h"

namespace callforward::milter {

namespace {

constexpr std::string_view blanks = " \t\v\f";

// The first word of a line; "" for an empty line, a comment, or one that continues another.
std::string_view first_word(std::string_view line, indented_line meaning) {
    const auto begin = line.find_first_not_of(blanks);
    if (begin == std::string_view::npos || line[begin] == '#') return {};
    if (begin != 0 && meaning == indented_line::continues) return {};
    const auto end = line.find_first_of(blanks, begin);
    return line.substr(begin, end == std::string_view::npos ? end : end - begin);
}

}  // namespace

std::optional<list_problem> parse_list(std::string_view text,
                                       const std::string& file,
                                       indented_line meaning,
                                       std::vector<list_entry>& into) {
    constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
    if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
    for (int number = 1; !text.empty(); ++number) {
        const auto end = text.find('\n');
        std::string_view line = text.substr(0, end);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
        if (line.size() > list_line_limit) {
            return list_problem{
                number, "a line is longer than " + std::to_string(list_line_limit) + " bytes"};
        }
        if (line.find('\0') != std::string_view::npos) {
            return list_problem{number, "a line with a NUL is no text"};
        }
        if (line.ends_with('\r')) line.remove_suffix(1);
        const std::string_view word = first_word(line, meaning);
        if (!word.empty()) into.push_back({std::string(word), file, number});
    }
    return std::nullopt;
}

std::optional<list_problem> read_list_file(const std::string& file,
                                           indented_line meaning,
                                           std::vector<list_entry>& into) {
    const file_text contents = read_bounded(file, list_file_limit);
    if (!contents.error.empty()) return list_problem{0, contents.error};
    return parse_list(contents.text, file, meaning, into);
}

}  // namespace callforward::milter
