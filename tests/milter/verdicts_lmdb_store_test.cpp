#include "milter/verdicts/lmdb_store.h"
#include "tests/milter/numbered_store.h"
#include "tests/milter/scratch_folder.h"
#include "tests/support/comes_true.h"

#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

using namespace callforward;
using namespace std::chrono_literals;
using milter::verdicts::lmdb_options;
using milter::verdicts::lmdb_store;
using testing::comes_true;
using tests::has;
using tests::is_record_of;
using tests::key_of_number;
using tests::options_in;
using tests::put;
using tests::record_of_number;
using tests::said;
using tests::scratch_folder;

namespace {

lmdb_options small_file_in(const std::string& directory,
                           const std::shared_ptr<said>& log,
                           std::size_t group_size) {
    lmdb_options options = options_in(directory, log);
    options.map_size = std::size_t{4} << 20U;
    options.group_size = group_size;
    return options;
}

// In groups, the first one the oldest.
void fill(lmdb_store& s, std::uint64_t records, std::uint64_t group) {
    const auto begin = tests::wall_now() - 10min;
    for (std::uint64_t n = 0; n < records; ++n) {
        s.put(key_of_number(n), record_of_number(n, begin + std::chrono::milliseconds(n)));
        if (n % group == group - 1) CHECK(s.flush(20s));
    }
}

}  // namespace

TEST_CASE("What is put is found at once, and after the store was closed") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    const auto directory = folder.path() + "/made/here";
    milter::verdicts::hash_seed seed;
    {
        lmdb_store s(options_in(directory, log));
        REQUIRE(s.is_open());
        seed = s.seed();
        CHECK_FALSE(has(s, 1));
        for (std::uint64_t n = 0; n < 3000; ++n) {
            put(s, n);
            CHECK(has(s, n));
        }
        s.erase(key_of_number(7));
        CHECK_FALSE(has(s, 7));
        CHECK(s.flush(20s));
        CHECK(s.size() == 2999);
        put(s, 5000);
    }
    lmdb_store s(options_in(directory, log));
    CHECK(s.seed() == seed);
    CHECK(s.size() == 3000);
    for (std::uint64_t n = 0; n < 3000; ++n) CHECK(has(s, n) == (n != 7));
    CHECK(has(s, 5000));
    CHECK(log->lines.empty());
    struct stat about {};
    REQUIRE(::stat(directory.c_str(), &about) == 0);
    CHECK((about.st_mode & 0777) == 0750);
}

TEST_CASE("An address or a domain is forgotten, queued or written, and can be known again") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    lmdb_store s(options_in(folder.path(), log));
    for (std::uint64_t n = 0; n < 100; ++n) put(s, n);
    CHECK(s.flush(20s));
    for (std::uint64_t n = 100; n < 200; ++n) put(s, n);
    s.forget_addresses({3});
    s.forget_domain(5);
    CHECK_FALSE(has(s, 3));
    CHECK_FALSE(has(s, 15));
    CHECK_FALSE(has(s, 105));
    CHECK(has(s, 4));
    put(s, 25);
    CHECK(has(s, 25));
    CHECK(s.flush(20s));
    CHECK_FALSE(has(s, 3));
    CHECK_FALSE(has(s, 15));
    CHECK(has(s, 25));
    CHECK(s.size() == 200 - 1 - 20 + 1);
}

TEST_CASE("What was refused of a domain lately is forgotten, queued or written") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    lmdb_store s(options_in(folder.path(), log));
    const auto now = tests::wall_now();
    const auto put_some = [&](std::uint64_t first) {
        for (std::uint64_t n = first; n < first + 100; ++n) {
            s.put(key_of_number(n), record_of_number(n, n == 33 ? now - 30min : now));
        }
    };
    put_some(0);
    CHECK(s.flush(20s));
    put_some(100);
    s.forget_refusals({3, 13}, now - 1min);
    for (int times = 0; times < 2; ++times) {
        for (std::uint64_t n = 0; n < 200; ++n) {
            CAPTURE(n);
            CHECK(has(s, n) == (n == 33 || n % 10 != 3 || n % 3 != 0));
        }
        CHECK(s.flush(20s));
    }
}

TEST_CASE("What has expired is swept, a deliverable later than others") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    lmdb_store s(options_in(folder.path(), log));
    const auto now = tests::wall_now();
    for (std::uint64_t n = 0; n < 30; ++n) s.put(key_of_number(n), record_of_number(n, now - 4h));
    for (std::uint64_t n = 30; n < 60; ++n) {
        s.put(key_of_number(n), record_of_number(n, now - std::chrono::hours(24 * 8)));
    }
    for (std::uint64_t n = 60; n < 90; ++n) put(s, n);
    CHECK(s.flush(20s));
    s.sweep_now();
    CHECK(comes_true([&] { return s.size() == 20 + 30; }));
    CHECK_FALSE(has(s, 0));
    CHECK(has(s, 1));
    CHECK_FALSE(has(s, 31));
    CHECK(has(s, 60));
}

TEST_CASE(
    "What was learnt by a clock that was years ahead is swept, after a small step it is not") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    lmdb_store s(options_in(folder.path(), log));
    const auto now = tests::wall_now();
    for (std::uint64_t n = 0; n < 30; ++n) {
        s.put(key_of_number(n), record_of_number(n, now + std::chrono::hours(24 * 4000)));
        s.put(key_of_number(n + 30), record_of_number(n + 30, now + 1h));
    }
    CHECK(s.flush(20s));
    s.sweep_now();
    CHECK(comes_true([&] { return s.size() == 30; }));
    CHECK(has(s, 31));
}

TEST_CASE("How long what is over is kept can be changed") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    lmdb_store s(options_in(folder.path(), log));
    const auto now = tests::wall_now();
    for (std::uint64_t n = 0; n < 30; ++n) s.put(key_of_number(n), record_of_number(n, now - 4h));
    CHECK(s.flush(20s));
    s.keep(1h, 24h);
    s.sweep_now();
    CHECK(comes_true([&] { return s.size() == 10; }));
    CHECK(has(s, 0));  // a refusal
}

TEST_CASE("A full store drops what is oldest, says so once, and goes on") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    lmdb_store s(small_file_in(folder.path(), log, 200));
    fill(s, 40000, 200);
    CHECK(log->lines.size() == 1);
    CHECK(s.is_open());
    CHECK(s.size() > 4000);
    CHECK(s.size() < 30000);
    for (std::uint64_t n = 39800; n < 40000; ++n) CHECK(has(s, n));
    CHECK_FALSE(has(s, 0));
}

TEST_CASE("A full store takes what came all at once, too") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    lmdb_store s(small_file_in(folder.path(), log, 4000));
    fill(s, 60000, 4000);
    CHECK(log->lines.size() == 1);
    CHECK(has(s, 59999));
    CHECK_FALSE(has(s, 0));
}

TEST_CASE("A full store drops refusals, however new, before what is deliverable") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    lmdb_store s(small_file_in(folder.path(), log, 200));
    const auto begin = tests::wall_now() - 10min;
    const auto is_good = [](std::uint64_t n) { return n % 3 != 0; };
    for (std::uint64_t n = 0; n < 3000; ++n) {
        if (is_good(n)) s.put(key_of_number(n), record_of_number(n, begin));
    }
    for (std::uint64_t n = 3000; n < 90000; n += 3) {
        s.put(key_of_number(n), record_of_number(n, begin + std::chrono::milliseconds(n)));
        if (n % 600 == 0) CHECK(s.flush(20s));
    }
    CHECK(s.flush(20s));
    CHECK(log->lines.size() == 1);
    std::size_t kept = 0;
    for (std::uint64_t n = 0; n < 3000; ++n) kept += is_good(n) && has(s, n) ? 1 : 0;
    CHECK(kept == 2000);
    CHECK_FALSE(has(s, 3000));
    CHECK(has(s, 89997));
}

TEST_CASE("A directory that cannot be used is said once, and tried again") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    const auto directory = folder.path() + "/in/the/way";
    folder.write("in", "a file");
    auto options = options_in(directory, log);
    options.try_again = 10ms;
    lmdb_store s(options);
    CHECK_FALSE(s.is_open());
    put(s, 1);
    CHECK_FALSE(s.flush(50ms));
    CHECK(log->count() == 1);
    std::filesystem::remove(folder.path() + "/in");
    CHECK(comes_true([&] { return s.is_open(); }));
    CHECK(s.flush(20s));
    CHECK(has(s, 1));
    CHECK(log->count() == 2);
    CHECK(log->lines.back().find("again") != std::string::npos);
}

TEST_CASE("A database that comes late brings its own seed") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    milter::verdicts::hash_seed seed;
    {
        lmdb_store s(options_in(folder.path() + "/a", log));
        seed = s.seed();
        put(s, 1);
    }
    folder.write("b", "a file");
    auto options = options_in(folder.path() + "/b", log);
    options.try_again = 10ms;
    lmdb_store s(options);
    CHECK_FALSE(s.seed() == seed);
    std::filesystem::remove(folder.path() + "/b");
    std::filesystem::rename(folder.path() + "/a", folder.path() + "/b");
    CHECK(comes_true([&] { return s.is_open(); }));
    CHECK(s.seed() == seed);
    CHECK(has(s, 1));
}

TEST_CASE("What is to be forgotten before the database came is not in it then") {
    for (const bool all : {true, false}) {
        const scratch_folder folder;
        const auto log = std::make_shared<said>();
        {
            lmdb_store s(options_in(folder.path() + "/a", log));
            put(s, 1);
            put(s, 2);
        }
        folder.write("b", "a file");
        auto options = options_in(folder.path() + "/b", log);
        options.try_again = 10ms;
        lmdb_store s(options);
        if (all) {
            CHECK(s.forget_all());
        } else {
            s.forget_addresses({record_of_number(1).tags.address});
        }
        std::filesystem::remove(folder.path() + "/b");
        std::filesystem::rename(folder.path() + "/a", folder.path() + "/b");
        CHECK(comes_true([&] { return s.is_open(); }));
        CHECK(log->lines.back().find("emptied") != std::string::npos);
        // By an address of another seed: nobody can tell whose it was.
        CHECK_FALSE(has(s, 1));
        CHECK_FALSE(has(s, 2));
    }
}

TEST_CASE("Who names what is to be forgotten can wait for a slow file's seed") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    auto options = options_in(folder.path(), log);
    milter::verdicts::hash_seed seed;
    {
        lmdb_store s(options);
        seed = s.seed();
    }
    options.open_within = 0ms;
    lmdb_store s(options);
    CHECK(s.wait_for_opening(20s));
    CHECK(s.seed() == seed);
}

TEST_CASE("Beyond what can wait to be written, nothing outdated is believed") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    auto options = options_in(folder.path(), log);
    {
        lmdb_store s(options);
        for (std::uint64_t n = 0; n < 20; ++n) put(s, n);
    }
    options.group_delay = 1h;  // nothing is written until it is asked for
    options.group_size = 1000;
    options.queued = 5;
    options.outdated = 10;
    {
        lmdb_store s(options);
        for (std::uint64_t n = 0; n < 12; ++n) put(s, n);
        for (std::uint64_t n = 0; n < 5; ++n) CHECK(has(s, n));
        for (std::uint64_t n = 5; n < 10; ++n) CHECK_FALSE(has(s, n));
        put(s, 4);  // what waits can be changed
        CHECK(has(s, 4));
        s.erase(key_of_number(3));
        CHECK_FALSE(has(s, 3));
        put(s, 7);  // as little as before
        CHECK_FALSE(has(s, 7));
        CHECK(s.flush(20s));
    }
    lmdb_store s(options);
    for (std::uint64_t n = 0; n < 20; ++n) CHECK(has(s, n) == ((n < 5 && n != 3) || n >= 10));
}

TEST_CASE("A full disk, and one that cannot be written, cost nothing but the store") {
    if (::geteuid() != 0) return;
    const scratch_folder folder;
    if (::mount("none", folder.path().c_str(), "tmpfs", 0, "size=4m") != 0) return;
    const auto log = std::make_shared<said>();
    auto options = options_in(folder.path() + "/cache", log);
    options.try_again = 20ms;
    {
        lmdb_store s(options);
        REQUIRE(s.is_open());
        put(s, 1);
        CHECK(s.flush(20s));
        const auto filler = folder.path() + "/filler";
        std::ofstream(filler) << std::string(4 << 20, 'x');
        for (std::uint64_t n = 2; n < 3000; ++n) put(s, n);
        CHECK_FALSE(s.flush(20s));
        CHECK(has(s, 1));
        CHECK(has(s, 2999));  // in the queue
        CHECK(log->count() == 1);
        std::filesystem::remove(filler);
        CHECK(comes_true([&] { return log->count() == 2; }));
        for (std::uint64_t n = 10000; n < 10010; ++n) put(s, n);
        CHECK(s.flush(20s));
        CHECK(has(s, 10009));
    }
    REQUIRE(::mount("none", folder.path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0);
    {
        lmdb_store s(options);
        CHECK_FALSE(s.is_open());
        put(s, 1);
        CHECK_FALSE(s.flush(50ms));
        CHECK(log->count() == 3);
    }
    CHECK(::umount(folder.path().c_str()) == 0);
}

TEST_CASE("A large store is ready to answer in a second") {
    const char* const asked = std::getenv("CALLFORWARD_ENTRIES");
    const std::uint64_t count = asked != nullptr ? std::strtoull(asked, nullptr, 10) : 20000;
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    auto options = options_in(folder.path(), log);
    options.map_size = std::size_t{1} << 30U;
    {
        lmdb_store s(options);
        for (std::uint64_t n = 0; n < count; ++n) {
            put(s, n);
            if (n % 20000 == 19999) CHECK(s.flush(60s));
        }
    }
    const auto begin = std::chrono::steady_clock::now();
    lmdb_store s(options);
    CHECK(has(s, 1));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    CHECK(s.size() == count);
    MESSAGE(count << " records, " << std::filesystem::file_size(folder.path() + "/data.mdb")
                  << " bytes: ready in " << took.count() << " s");
    CHECK(took < 10s);  // a sanitizer, on a busy machine
}

TEST_CASE("Another process may read and write at the same time") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    { const lmdb_store first(options_in(folder.path(), log)); }
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        int code = 1;
        {
            lmdb_store s(options_in(folder.path(), log));
            for (std::uint64_t n = 0; n < 2000; ++n) put(s, n);
            if (s.flush(20s) && has(s, 1999)) code = 0;
        }
        ::_exit(code);
    }
    lmdb_store s(options_in(folder.path(), log));
    for (std::uint64_t n = 5000; n < 6000; ++n) put(s, n);
    CHECK(s.flush(20s));
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    for (std::uint64_t n = 0; n < 2000; ++n) CHECK(has(s, n));
    for (std::uint64_t n = 5000; n < 6000; ++n) CHECK(has(s, n));
}

TEST_CASE("Many threads find and put, forget and flush at once") {
    const scratch_folder folder;
    const auto log = std::make_shared<said>();
    auto options = options_in(folder.path(), log);
    options.group_delay = 1ms;
    options.group_size = 50;
    options.between_sweeps = 3ms;
    lmdb_store s(options);
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (std::uint64_t i = 0; i < 1000; ++i) {
                const std::uint64_t n = (i * 7 + static_cast<std::uint64_t>(t)) % 300;
                const auto found = s.find(key_of_number(n));
                if (found && !is_record_of(n, *found)) ++wrong;
                s.put(key_of_number(n), record_of_number(n));
                if (i % 100 == 0) s.forget_domain(static_cast<std::uint32_t>(n % 10));
                if (i % 250 == 0) static_cast<void>(s.flush(1s));
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(wrong == 0);
    CHECK(log->lines.empty());
}
