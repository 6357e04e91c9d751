// What becomes of the cache on disk when the disk fails it, or memory does.
#include "milter/verdicts/change_group.h"
#include "milter/verdicts/lmdb_file.h"
#include "milter/verdicts/lmdb_store.h"
#include "tests/milter/numbered_store.h"
#include "tests/milter/scratch_folder.h"
#include "tests/support/comes_true.h"

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace callforward;
using namespace std::chrono_literals;
using milter::verdicts::change_group;
using milter::verdicts::forgetting;
using milter::verdicts::lmdb_file;
using milter::verdicts::lmdb_options;
using milter::verdicts::lmdb_store;
using testing::comes_true;
using tests::has;
using tests::key_of_number;
using tests::options_in;
using tests::put;
using tests::record_of_number;
using tests::said;
using tests::scratch_folder;

namespace {

// liblmdb's commits, small writes at the beginning of the file, fail.
std::atomic<bool> commits_fail = false;

// While it commits, this one is given something more to write.
std::atomic<lmdb_store*> never_idle = nullptr;

// Called once when liblmdb has found something for this thread.
thread_local std::function<void()> after_mdb_get;

// So many more steps of cursors do not fail.
constexpr int endless = 1 << 30;
std::atomic<int> cursor_steps = endless;

}  // namespace

// Instead of libc's, which it calls.
extern "C" ssize_t pwrite64(int file, const void* bytes, std::size_t size, off64_t at) {
    using function = ssize_t (*)(int, const void*, std::size_t, off64_t);
    static const auto real = reinterpret_cast<function>(dlsym(RTLD_NEXT, "pwrite64"));
    constexpr off64_t meta_pages = 8192;
    const bool commits = at < meta_pages && size < 1000;
    if (commits && commits_fail) {
        errno = EIO;
        return -1;
    }
    if (lmdb_store* const s = never_idle; commits && s != nullptr) put(*s, 1);
    return real(file, bytes, size, at);
}
extern "C" int mdb_get(void* transaction, unsigned database, void* key, void* value) {
    using function = int (*)(void*, unsigned, void*, void*);
    static const auto real = reinterpret_cast<function>(dlsym(RTLD_NEXT, "mdb_get"));
    const int error = real(transaction, database, key, value);
    if (after_mdb_get) std::exchange(after_mdb_get, nullptr)();
    return error;
}
extern "C" int mdb_cursor_get(void* cursor, void* key, void* value, int operation) {
    using function = int (*)(void*, void*, void*, int);
    static const auto real = reinterpret_cast<function>(dlsym(RTLD_NEXT, "mdb_cursor_get"));
    if (cursor_steps < endless && --cursor_steps < 0) return EIO;
    return real(cursor, key, value, operation);
}
extern "C" ssize_t pwrite(int file, const void* bytes, std::size_t size, off_t at) {
    return pwrite64(file, bytes, size, at);
}

TEST_CASE("A restart does not believe what was forgotten on a full disk, and nothing hides it") {
    if (::geteuid() != 0) return;
    for (const bool all : {true, false}) {
        CAPTURE(all);
        const scratch_folder folder;
        if (::mount("none", folder.path().c_str(), "tmpfs", 0, "size=1m") != 0) return;
        const auto log = std::make_shared<said>();
        const auto options = options_in(folder.path() + "/cache", log);
        {
            lmdb_store s(options);
            for (std::uint64_t n = 0; n < 100; ++n) put(s, n);
            CHECK(s.flush(20s));
            CHECK(s.complaint().empty());
            std::ofstream(folder.path() + "/filler") << std::string(1 << 20, 'x');
            for (std::uint64_t n = 100; n < 1000; ++n) put(s, n);
            CHECK_FALSE(s.flush(20s));
            CHECK(s.complaint().find("cannot be written") != std::string::npos);
            all ? static_cast<void>(s.forget_all())
                : s.forget_addresses({record_of_number(7).tags.address});
            static_cast<void>(s.flush(20s));
            CHECK_FALSE(has(s, 7));
        }
        std::filesystem::remove(folder.path() + "/filler");
        {
            lmdb_store s(options);
            CHECK_FALSE(has(s, 7));
        }
        CHECK(::umount(folder.path().c_str()) == 0);
    }
}

TEST_CASE("A process that leaves its store as it is leaves nothing that was to be forgotten") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    const auto options = options_in(folder.path(), log);
    lmdb_store s(options);
    put(s, 7);
    REQUIRE(s.flush(20s));
    commits_fail = true;
    put(s, 8);
    s.finish(20s);
    CHECK(std::filesystem::exists(folder.path() + "/data.mdb"));  // nothing is forgotten
    s.forget_addresses({record_of_number(7).tags.address});
    s.finish(20s);
    // As it is then; there may be a new file.
    const scratch_folder copy;
    std::error_code none;
    std::filesystem::copy(folder.path() + "/data.mdb", copy.path() + "/data.mdb", none);
    commits_fail = false;
    lmdb_store next(options_in(copy.path(), log));
    CHECK(next.is_open());
    CHECK_FALSE(has(next, 7));
}

TEST_CASE("Who waits for a store that failed has it tried again") {
    if (::geteuid() != 0) return;
    const scratch_folder folder;
    if (::mount("none", folder.path().c_str(), "tmpfs", 0, "size=1m") != 0) return;
    {
        const auto log = std::make_shared<said>();
        lmdb_store s(options_in(folder.path() + "/cache", log));
        const auto filler = folder.path() + "/filler";
        std::ofstream(filler) << std::string(1 << 20, 'x');
        for (std::uint64_t n = 0; n < 1000; ++n) put(s, n);
        CHECK_FALSE(s.flush(20s));
        std::filesystem::remove(filler);
        CHECK(s.flush(20s));  // long before a minute is over
        CHECK(s.complaint().empty());
    }
    CHECK(::umount(folder.path().c_str()) == 0);
}

TEST_CASE("What is forgotten while commits fail does not come back when they work again") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    lmdb_store s(options_in(folder.path(), log));
    for (std::uint64_t n = 0; n < 100; ++n) put(s, n);
    REQUIRE(s.flush(20s));
    commits_fail = true;
    put(s, 1000);
    CHECK_FALSE(s.flush(20s));
    s.forget_addresses({record_of_number(7).tags.address});
    CHECK_FALSE(s.flush(20s));  // the library takes the file for damaged by now
    CHECK_FALSE(has(s, 7));
    commits_fail = false;
    CHECK(comes_true([&] { return s.flush(20s); }));  // it may just be opened anew
    CHECK_FALSE(has(s, 7));
    CHECK(has(s, 8));
    CHECK(has(s, 1000));
}

TEST_CASE("Who waits until something is written is not held up by what comes after it") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    lmdb_store s(options_in(folder.path(), log));
    never_idle = &s;
    put(s, 2);
    CHECK(s.flush(20s));
    never_idle = nullptr;
    CHECK(s.flush(20s));
    CHECK(s.size() == 2);
}

TEST_CASE("What is forgotten while it is read is not found") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    lmdb_store s(options_in(folder.path(), log));
    put(s, 7);
    REQUIRE(s.flush(20s));
    bool forgotten = false;
    after_mdb_get = [&] {
        s.forget_addresses({record_of_number(7).tags.address});
        forgotten = s.flush(20s);
    };
    CHECK_FALSE(has(s, 7));
    CHECK(forgotten);
}

TEST_CASE("What cannot be read to its end is neither forgotten nor listed") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    lmdb_store s(options_in(folder.path(), log));
    for (std::uint64_t n = 0; n < 6000; ++n) put(s, n);
    REQUIRE(s.flush(20s));
    cursor_steps = 100;
    CHECK_FALSE(s.list("", 1000));
    cursor_steps = 5500;
    s.forget_addresses({record_of_number(7).tags.address});
    CHECK_FALSE(s.flush(20s));
    CHECK_FALSE(s.complaint().empty());
    cursor_steps = 5500;
    s.forget_all();
    CHECK_FALSE(s.flush(20s));
    cursor_steps = endless;
    CHECK(comes_true([&] { return s.flush(20s); }));  // it may just be opened anew
    CHECK(s.size() == 0);
}

TEST_CASE("A reader that fails keeps no pages from being used again") {
    const scratch_folder folder;
    std::string why;
    const auto file = lmdb_file::open(folder.path(), std::size_t{8} << 20U, why);
    REQUIRE(file);
    const auto write = [&](int round) {
        lmdb_file::changes some;
        for (int n = 0; n < 200; ++n) {
            some.emplace("key" + std::to_string(n), std::string(300, static_cast<char>(round)));
        }
        return file->write(some, why) == lmdb_file::result::done;
    };
    REQUIRE(write('a'));
    const auto fail = [](std::string_view, std::string_view) { throw std::runtime_error("no"); };
    std::string from;
    CHECK_THROWS(static_cast<void>(file->scan(from, 10, fail, why)));
    int failed = 0;
    for (int round = 1; round < 300; ++round) failed += write(round % 20 + 'a') ? 0 : 1;
    CHECK(failed == 0);
}

TEST_CASE("A group that could not be written is older than what came after it") {
    const auto bytes_of = [](std::uint64_t n) {
        return encode(record_of_number(n), key_of_number(n), {11, 12});
    };
    change_group failed;
    failed.forget({forgetting::what::addresses, {1}});
    failed.put("one", bytes_of(1), 100, 100);
    failed.put("two", bytes_of(2), 100, 100);
    change_group later;
    later.forget({forgetting::what::addresses, {2}});
    failed.give_to(later);
    CHECK(later.forgotten.size() == 2);
    CHECK(later.forgets(bytes_of(1)));
    CHECK(later.forgets(bytes_of(2)));
    CHECK(later.changes.contains("one"));
    CHECK_FALSE(later.changes.contains("two"));
    CHECK_FALSE(later.forgets_everything());
    CHECK(failed.empty());
}
