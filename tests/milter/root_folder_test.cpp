#include "milter/root_folder.h"

#include "tests/support/temporary_folder.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

using namespace callforward::milter;
using callforward::testing::temporary_folder;
namespace fs = std::filesystem;

namespace {

constexpr uid_t somebody = 4321;  // a number is enough

struct stat seen(const std::string& path) {
    struct stat s {};
    REQUIRE(::stat(path.c_str(), &s) == 0);
    return s;
}

// The folder of a test is root's, in one where nobody can take another's things away.
bool is_root() {
    return ::geteuid() == 0;
}

}  // namespace

TEST_CASE("A folder that is missing is made, and belongs to the user; those above it to root") {
    if (!is_root()) return;
    const temporary_folder folder;
    const std::string path = folder.file("srv/mail/store");
    const mode_t before = ::umask(0077);
    CHECK(make_folder_for(path, somebody, somebody));
    ::umask(before);
    CHECK(seen(path).st_uid == somebody);
    CHECK(seen(path).st_gid == somebody);
    CHECK((seen(path).st_mode & 07777) == 0750);
    CHECK(seen(folder.file("srv/mail")).st_uid == 0);
    CHECK((seen(folder.file("srv/mail")).st_mode & 07777) == 0755);
}

TEST_CASE("A folder that is there is left as it is") {
    if (!is_root()) return;
    const temporary_folder folder;
    fs::create_directory(folder.file("there"));
    const auto mode = seen(folder.file("there")).st_mode;
    CHECK(make_folder_for(folder.file("there"), somebody, somebody));
    CHECK(make_folder_for(folder.file("there/"), somebody, somebody));
    CHECK(seen(folder.file("there")).st_uid == 0);
    CHECK(seen(folder.file("there")).st_mode == mode);
    std::ofstream(folder.file("file")) << "x";
    CHECK_FALSE(make_folder_for(folder.file("file"), somebody, somebody));
    CHECK_FALSE(make_folder_for(folder.file("file/below"), somebody, somebody));
}

TEST_CASE("Links that root has made are followed, as /var/run is") {
    if (!is_root()) return;
    const temporary_folder folder;
    fs::create_directory(folder.file("run"));
    fs::create_directory(folder.file("var"));
    fs::create_symlink("../run", folder.file("var/run"));
    CHECK(make_folder_for(folder.file("var/run/a"), somebody, somebody));
    CHECK(seen(folder.file("run/a")).st_uid == somebody);
    fs::create_symlink(folder.file("run/b"), folder.file("var/far"));
    CHECK(make_folder_for(folder.file("var/far"), somebody, somebody));
    CHECK(seen(folder.file("run/b")).st_uid == somebody);
    fs::create_symlink("loop", folder.file("loop"));
    CHECK_FALSE(make_folder_for(folder.file("loop/x"), somebody, somebody));
}

TEST_CASE("Where somebody else could exchange what root makes, nothing is made") {
    if (!is_root()) return;
    const temporary_folder folder;
    fs::create_directories(folder.file("theirs"));
    fs::create_directories(folder.file("target"));
    fs::create_symlink(folder.file("target"), folder.file("theirs/link"));
    REQUIRE(::chown(folder.file("theirs").c_str(), somebody, somebody) == 0);
    CHECK_FALSE(make_folder_for(folder.file("theirs/x"), somebody, somebody));
    CHECK_FALSE(make_folder_for(folder.file("theirs/link/x"), somebody, somebody));
    CHECK(fs::is_empty(folder.file("target")));
    fs::create_directory(folder.file("open"));
    fs::permissions(folder.file("open"), fs::perms::others_write, fs::perm_options::add);
    CHECK_FALSE(make_folder_for(folder.file("open/x"), somebody, somebody));
    // A link that somebody has made, in a folder such as /tmp.
    fs::create_symlink(folder.file("target"), folder.file("link"));
    REQUIRE(::lchown(folder.file("link").c_str(), somebody, somebody) == 0);
    CHECK_FALSE(make_folder_for(folder.file("link/x"), somebody, somebody));
    CHECK(fs::is_empty(folder.file("target")));
}
