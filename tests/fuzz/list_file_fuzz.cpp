// A list file: no crash, no empty entry, lines that only grow.
#include "milter/list_file.h"

#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace callforward::milter;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    std::vector<list_entry> entries;
    const auto meaning = size % 2 == 0 ? indented_line::is_entry : indented_line::continues;
    const auto problem = parse_list(text, "fuzz", meaning, entries);
    int line = 0;
    for (const list_entry& entry : entries) {
        if (entry.text.empty() || entry.line <= line) std::abort();
        line = entry.line;
    }
    if (problem && problem->line <= line) std::abort();
    return 0;
}
