#include "milter/bounded_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace callforward::milter {

namespace {

struct descriptor {
    explicit descriptor(int opened) : number(opened) {}
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;
    ~descriptor() {
        if (number >= 0) ::close(number);
    }
    const int number;
};

file_text failure(int error) {
    return {{}, std::generic_category().message(error), error == ENOENT};
}

}  // namespace

file_text read_bounded(const std::string& path, std::size_t limit) {
    if (path.find('\0') != std::string::npos) return {{}, "a file name has no NUL", false};
    const descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.number < 0) return failure(errno);
    struct stat about {};
    if (::fstat(file.number, &about) != 0) return failure(errno);
    if (S_ISDIR(about.st_mode)) return failure(EISDIR);
    file_text result;
    std::array<char, 65536> chunk{};
    for (;;) {
        const ssize_t got = ::read(file.number, chunk.data(), chunk.size());
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

}  // namespace callforward::milter
