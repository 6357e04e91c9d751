#include "milter/standard_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>
#include <system_error>

namespace callforward::milter {

void keep_standard_files() {
    for (int fd = open("/dev/null", O_RDONLY); fd >= 0; fd = open("/dev/null", O_RDONLY)) {
        if (fd <= STDERR_FILENO) continue;
        close(fd);
        return;
    }
}

std::string flush_output() {
    errno = 0;
    if (std::cout.flush()) return {};
    const std::string why = errno == 0 ? "" : ": " + std::generic_category().message(errno);
    return "standard output cannot be written" + why;
}

}  // namespace callforward::milter
