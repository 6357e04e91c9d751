// The sandbox, in children of their own: there is no way back out of it.
#include "milter/sandbox.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>
#include <thread>

using callforward::milter::enter_sandbox;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool is_possible = false;  // they start processes of their own
#else
constexpr bool is_possible = true;
#endif

// 0 when the act succeeds inside the sandbox, else its errno.
int in_a_sandbox(const std::function<bool()>& act) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        enter_sandbox();
        errno = 0;
        _exit(act() ? 0 : errno);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool can_map(int protection) {
    return mmap(nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

bool can_run_a_program() {
    std::array<char, 10> path{"/bin/true"};
    std::array<char*, 2> arguments{path.data(), nullptr};
    execv(path.data(), arguments.data());
    return false;
}

bool can_begin_a_process() {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    return child > 0;
}

bool can_make_a_mapping_executable() {
    void* const page = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0;
}

}  // namespace

TEST_CASE(
    "in the sandbox nothing is run, nobody becomes another, and no memory is both written "
    "and executed") {
    if (!is_possible) return;
    CHECK(in_a_sandbox(can_run_a_program) == EPERM);
    CHECK(in_a_sandbox(can_begin_a_process) == EPERM);
    CHECK(in_a_sandbox([] { return setuid(0) == 0; }) == EPERM);
    CHECK(in_a_sandbox([] { return can_map(PROT_READ | PROT_WRITE | PROT_EXEC); }) == EPERM);
    CHECK(in_a_sandbox(can_make_a_mapping_executable) == EPERM);
    CHECK(in_a_sandbox([] { return chroot("/") == 0; }) == EPERM);
}

TEST_CASE("in the sandbox threads, sockets, files and memory are as before") {
    CHECK(in_a_sandbox([] {
              int seen = 0;
              std::thread([&] { seen = 1; }).join();
              return seen == 1;
          }) == 0);
    CHECK(in_a_sandbox([] { return socket(AF_INET, SOCK_STREAM, 0) >= 0; }) == 0);
    CHECK(in_a_sandbox([] { return open("/dev/null", O_RDONLY) >= 0; }) == 0);
    CHECK(in_a_sandbox([] { return can_map(PROT_READ | PROT_WRITE); }) == 0);
}
