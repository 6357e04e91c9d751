#include "milter/listening_socket.h"

#include "milter/config.h"
#include "tests/support/socket.h"
#include "tests/support/temporary_folder.h"

#include <doctest/doctest.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <utility>
#include <vector>

using namespace callforward::milter;
using callforward::testing::listen_on;
using callforward::testing::temporary_folder;

namespace {

// What an operator is told; "" when the place is free.
std::string objection(const std::string& socket) {
    try {
        make_room_for(socket);
        return {};
    } catch (const std::runtime_error& e) {
        return e.what();
    }
}

bool mentions(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("the path of a unix socket is known by both of libmilter's prefixes") {
    CHECK(unix_socket_path("unix:/run/x") == "/run/x");
    CHECK(unix_socket_path("local:/run/x") == "/run/x");
    CHECK(unix_socket_path("inet:8891@127.0.0.1").empty());
}

TEST_CASE("a free path is left free") {
    const temporary_folder folder;
    CHECK(objection("unix:" + folder.file("s")).empty());
    CHECK_FALSE(std::filesystem::exists(folder.file("s")));
}

TEST_CASE("a stale socket is removed") {
    const temporary_folder folder;
    { const auto gone = listen_on("unix:" + folder.file("s")); }
    REQUIRE(std::filesystem::is_socket(folder.file("s")));
    CHECK(objection("unix:" + folder.file("s")).empty());
    CHECK_FALSE(std::filesystem::exists(folder.file("s")));
}

TEST_CASE("a socket that somebody listens at is left alone, however full its queue") {
    const temporary_folder folder;
    const std::string path = "unix:" + folder.file("s");
    const auto taken = listen_on(path);
    CHECK(mentions(objection(path), "another process is listening there"));
    REQUIRE(::listen(taken.get(), 0) == 0);
    std::vector<callforward::testing::unique_fd> waiting;
    for (int i = 0; i < 3; ++i) {
        try {
            waiting.push_back(callforward::testing::connect_to(path, std::chrono::milliseconds(1)));
        } catch (const std::exception&) {
            break;
        }
    }
    CHECK(mentions(objection(path), "another process is listening there"));
    CHECK(std::filesystem::is_socket(folder.file("s")));
}

TEST_CASE("a file, a folder and a link are left alone") {
    const temporary_folder folder;
    std::ofstream(folder.file("file")) << "precious";
    std::filesystem::create_directory(folder.file("folder"));
    std::filesystem::create_symlink(folder.file("nowhere"), folder.file("link"));
    for (const char* name : {"file", "folder", "link"}) {
        CHECK(mentions(objection("unix:" + folder.file(name)), "no socket"));
        CHECK(std::filesystem::exists(std::filesystem::symlink_status(folder.file(name))));
    }
}

TEST_CASE("a place where nothing can be made is told with its reason") {
    const temporary_folder folder;
    const std::string missing = objection("unix:" + folder.file("missing/s"));
    CHECK(mentions(missing, "No such file or directory; its folder has to be made first"));
    CHECK(mentions(missing, folder.file("missing/s")));
    CHECK(mentions(objection("unix:/" + std::string(108, 'x')), "too long"));
    CHECK(mentions(objection("unix:/proc/s"), "cannot listen on unix:/proc/s: "));
}

TEST_CASE("a port in use, and an address that is not here, are told with their reason") {
    const auto taken = listen_on("127.0.0.1:0");
    const std::string port = std::to_string(callforward::testing::local_port(taken));
    CHECK(mentions(objection("inet:" + port + "@127.0.0.1"), "already in use"));
    CHECK(mentions(objection("inet:" + port + "@192.0.2.1"),
                   "Cannot assign requested address; this host has no such address"));
    CHECK(mentions(objection("inet:" + port + "@no.such.host.invalid"), "cannot listen on inet:"));
    CHECK(objection("inet:0@127.0.0.1").empty());
    CHECK(objection("inet6:0@::1").empty());
}

TEST_CASE("a descriptor that was handed over must be a socket that listens") {
    const temporary_folder folder;
    const auto listening = listen_on("unix:" + folder.file("s"));
    CHECK(objection("fd:" + std::to_string(listening.get())).empty());
    CHECK(mentions(objection("fd:65000"), "cannot listen on fd:65000: no such descriptor"));
    const callforward::testing::unique_fd deaf(::socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK(mentions(objection("fd:" + std::to_string(deaf.get())), "no socket that listens"));
}

TEST_CASE("whoever listens can be connected to by the same words") {
    using callforward::testing::unique_fd;
    const temporary_folder folder;
    const auto path = listen_on("unix:" + folder.file("s"));
    const auto four = listen_on("127.0.0.1:0");
    const auto six = listen_on("[::1]:0");
    const std::string port = std::to_string(local_port(four));
    for (const std::string& socket : {"unix:" + folder.file("s"),
                                      "inet:" + port + "@127.0.0.1",
                                      "inet:" + port,
                                      "inet6:" + std::to_string(local_port(six)) + "@::1",
                                      "fd:" + std::to_string(path.get()),
                                      "fd:" + std::to_string(four.get())}) {
        CAPTURE(socket);
        CHECK(unique_fd(connect_to(socket)).get() >= 0);
    }
    CHECK_THROWS_AS(static_cast<void>(connect_to("unix:" + folder.file("none"))),
                    std::runtime_error);
}

TEST_CASE("a group that does not exist is an error of the configuration") {
    CHECK_FALSE(group_named("").has_value());
    CHECK_THROWS_AS(static_cast<void>(group_named("no-such-group")), config_error);
    CHECK(group_named("root") == gid_t{0});
}

TEST_CASE("a socket is given to a group") {
    if (::geteuid() != 0) return;  // only root may give to any
    const temporary_folder folder;
    const auto socket = listen_on("unix:" + folder.file("s"));
    give_to_group(folder.file("s"), 1);
    struct stat found {};
    REQUIRE(::stat(folder.file("s").c_str(), &found) == 0);
    CHECK(found.st_gid == 1);
    CHECK_THROWS(give_to_group(folder.file("none"), 1));
}

TEST_CASE("what somebody has put in the socket's place is not given away") {
    const temporary_folder folder;
    std::ofstream(folder.file("secret")) << "root's";
    const auto changed = [&] {
        struct stat found {};
        REQUIRE(::stat(folder.file("secret").c_str(), &found) == 0);
        return std::pair(found.st_ctim.tv_sec, found.st_ctim.tv_nsec);
    };
    const auto before = changed();
    std::filesystem::create_symlink(folder.file("secret"), folder.file("link"));
    CHECK_THROWS_WITH(give_to_group(folder.file("link"), ::getegid()),
                      doctest::Contains("socket_group: "));
    CHECK_FALSE(std::filesystem::exists(std::filesystem::symlink_status(folder.file("link"))));
    CHECK(give_socket(folder.file("secret"), ::geteuid(), ::getegid()) == ENOTSOCK);
    const auto socket = listen_on("unix:" + folder.file("s"));
    std::filesystem::create_symlink(folder.file("s"), folder.file("other"));
    CHECK(give_socket(folder.file("other"), ::geteuid(), ::getegid()) == ENOTSOCK);
    CHECK(give_socket(folder.file("s"), ::geteuid(), ::getegid()) == 0);
    CHECK(give_socket(folder.file("none"), ::geteuid(), ::getegid()) == ENOENT);
    CHECK(changed() == before);
}
