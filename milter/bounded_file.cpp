#include "milter/bounded_file.h"

#include "milter/descriptor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

namespace callforward::milter {

namespace {

file_text failure(int error) {
    return {{}, std::generic_category().message(error), error == ENOENT};
}

// forbidden: bits of the file's mode, for what is no secret 0.
file_text read_whole(const std::string& path, std::size_t limit, mode_t forbidden) {
    if (path.find('\0') != std::string::npos) return {{}, "a file name has no NUL", false};
    const descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0) return failure(errno);
    struct stat about {};
    if (::fstat(file.get(), &about) != 0) return failure(errno);
    if (S_ISDIR(about.st_mode)) return failure(EISDIR);
    if ((about.st_mode & forbidden) != 0) {
        return {{}, "everybody can read or change it: take that away by chmod o-rwx", false};
    }
    file_text result;
    std::array<char, 65536> chunk{};
    for (;;) {
        const ssize_t got = ::read(file.get(), chunk.data(), chunk.size());
        if (got == 0) return result;
        if (got < 0) {
            if (errno == EINTR) continue;
            return failure(errno);
        }
        result.text.append(chunk.data(), static_cast<std::size_t>(got));
        if (result.text.size() > limit) {
            return {{}, "the file is larger than " + std::to_string(limit) + " bytes", false};
        }
    }
}

}  // namespace

file_text read_bounded(const std::string& path, std::size_t limit) {
    return read_whole(path, limit, 0);
}

file_text read_secret(const std::string& path) {
    constexpr std::size_t largest_file = 65536;
    constexpr std::size_t longest_secret = 255;  // RFC 4616 section 2
    file_text secret = read_whole(path, largest_file, S_IRWXO);
    if (!secret.error.empty()) return secret;
    secret.text.resize(std::min(secret.text.find('\n'), secret.text.size()));
    if (secret.text.ends_with('\r')) secret.text.pop_back();
    std::string problem;
    if (secret.text.empty()) problem = "its first line, which is the password, is empty";
    if (secret.text.size() > longest_secret) problem = "its first line is longer than 255 bytes";
    if (secret.text.find('\0') != std::string::npos) problem = "a password has no NUL";
    if (problem.empty()) return secret;
    return {{}, std::move(problem), false};
}

}  // namespace callforward::milter
