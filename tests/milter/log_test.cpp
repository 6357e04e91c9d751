#include "milter/log.h"

#include "tests/milter/scratch_folder.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

using namespace callforward;

namespace {

int bound_to(const std::string& path, int type) {
    const int made = ::socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(bind(made, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    if (type == SOCK_STREAM) REQUIRE(listen(made, 1) == 0);
    return made;
}

}  // namespace

TEST_CASE("A syslog is there while somebody reads its socket") {
    const tests::scratch_folder folder;
    for (const int type : {SOCK_DGRAM, SOCK_STREAM}) {
        CAPTURE(type);
        const std::string path = folder.path() + "/log" + std::to_string(type);
        CHECK_FALSE(milter::log::is_syslog_at(path));
        const int reader = bound_to(path, type);
        CHECK(milter::log::is_syslog_at(path));
        close(reader);
        CHECK_FALSE(milter::log::is_syslog_at(path));
    }
    CHECK_FALSE(milter::log::is_syslog_at(folder.write("file", "")));
    CHECK_FALSE(milter::log::is_syslog_at(std::string(200, 'x')));
}
