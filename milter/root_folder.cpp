#include "milter/root_folder.h"

#include "milter/descriptor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <string_view>
#include <utility>
#include <vector>

namespace callforward::milter {

namespace {

constexpr int most_links = 40;  // as the kernel has it

// What is in it can be renamed or removed by root alone.
bool keeps_what_is_roots(int folder) {
    struct stat s {};
    if (fstat(folder, &s) != 0 || s.st_uid != 0) return false;
    return (s.st_mode & (S_IWGRP | S_IWOTH)) == 0 || (s.st_mode & S_ISVTX) != 0;
}

class way {  // to a folder, name by name
public:
    way(const std::string& path, uid_t user, gid_t group) : user_(user), group_(group) {
        put_before(path);
    }

    bool go() {
        while (at_.get() >= 0 && !ahead_.empty()) {
            if (!keeps_what_is_roots(at_.get())) return false;
            const std::string name = std::move(ahead_.back());
            ahead_.pop_back();
            if (!enter(name)) return false;
        }
        return at_.get() >= 0;
    }

private:
    static descriptor root() { return descriptor(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)); }

    void put_before(std::string_view path) {
        while (!path.empty()) {
            const auto slash = path.rfind('/');
            const auto begin = slash == std::string_view::npos ? 0 : slash + 1;
            const std::string_view name = path.substr(begin);
            if (!name.empty() && name != ".") ahead_.emplace_back(name);
            path = path.substr(0, slash == std::string_view::npos ? 0 : slash);
        }
    }

    bool enter(const std::string& name) {
        descriptor found(openat(at_.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
        if (found.get() < 0) return errno == ENOENT && make(name);
        struct stat s {};
        if (fstat(found.get(), &s) != 0) return false;
        if (S_ISLNK(s.st_mode)) return s.st_uid == 0 && follow(found.get());
        at_ = std::move(found);
        return S_ISDIR(s.st_mode);
    }

    bool follow(int link) {
        std::array<char, PATH_MAX> target{};
        const ssize_t size = readlinkat(link, "", target.data(), target.size());
        if (size <= 0 || ++links_ > most_links) return false;
        const std::string_view path(target.data(), static_cast<std::size_t>(size));
        if (path.front() == '/') at_ = root();
        put_before(path);
        return true;
    }

    bool make(const std::string& name) {
        constexpr mode_t of_root = 0755;
        constexpr mode_t of_user = 0750;
        if (mkdirat(at_.get(), name.c_str(), 0700) != 0) return false;
        descriptor made(
            openat(at_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        const bool last = ahead_.empty();
        // Not by mkdirat(): the umask would have a say.
        if (fchmod(made.get(), last ? of_user : of_root) != 0) return false;
        if (last && fchown(made.get(), user_, group_) != 0) return false;
        at_ = std::move(made);
        return true;
    }

    uid_t user_;
    gid_t group_;
    descriptor at_ = root();
    std::vector<std::string> ahead_;  // the last is the next
    int links_ = 0;
};

}  // namespace

bool make_folder_for(const std::string& path, uid_t user, gid_t group) {
    return way(path, user, group).go();
}

}  // namespace callforward::milter
