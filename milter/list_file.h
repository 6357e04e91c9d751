// List files: what "@file" in a list of the configuration stands for.
//
// One entry a line, its first word; '#' begins a comment, empty lines are skipped, CR before LF is
// dropped. At most 64 MiB and 64 KiB a line. A NUL, a longer line, or a file that can not be read
// is a problem with its line (0: the whole file); nothing of such a file may be used. What an entry
// means is checked by whoever asked for the list.
#pragma once

#include "milter/settings.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::milter {

constexpr std::size_t list_file_limit = std::size_t{64} * 1024 * 1024;
constexpr std::size_t list_line_limit = std::size_t{64} * 1024;

// Postfix continues a line of virtual(5) with an indented one, whose first word is no entry.
enum class indented_line { is_entry, continues };

struct list_problem {
    int line = 0;
    std::string text;
};

// Both append to `into`; text of the entries as written.
[[nodiscard]] std::optional<list_problem> parse_list(std::string_view text,
                                                     const std::string& file,
                                                     indented_line meaning,
                                                     std::vector<list_entry>& into);
[[nodiscard]] std::optional<list_problem> read_list_file(const std::string& file,
                                                         indented_line meaning,
                                                         std::vector<list_entry>& into);

}  // namespace callforward::milter
