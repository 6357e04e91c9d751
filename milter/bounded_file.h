// A whole file as text, up to a limit: how configuration and lists are read.
//
// Works for pipes and devices too (their size is not asked for); a folder is an error.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace callforward::milter {

struct file_text {
    std::string text;
    std::string error;     // "" when the file was read; else what is wrong, without the file's name
    bool missing = false;  // there is no such file
};

[[nodiscard]] file_text read_bounded(const std::string& path, std::size_t limit);

// A password: the first line of a file. It is an error when others than the file's owner and group
// could read or change it, or when the line is empty or longer than 255 bytes.
[[nodiscard]] file_text read_secret(const std::string& path);

}  // namespace callforward::milter
