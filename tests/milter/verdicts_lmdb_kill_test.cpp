// kill -9 of a process that writes, again and again: the file opens, what it has is right, and only
// the last group is missing. CALLFORWARD_KILLS says how often; 50.
#include "milter/verdicts/lmdb_store.h"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scratch_folder.h"
#include "stored_verdicts.h"
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>

using namespace callforward;
using namespace std::chrono_literals;
using milter::verdicts::lmdb_options;
using milter::verdicts::lmdb_store;
using tests::is_record_of;
using tests::key_of_number;
using tests::record_of_number;
using tests::scratch_folder;

namespace {

struct shared_numbers {  // written by the child, read when it is dead
    std::atomic<std::uint64_t> put{0};
    std::atomic<std::uint64_t> flushed{0};  // all below are in the file
    std::atomic<bool> open{false};
};

lmdb_options options_in(const std::string& directory) {
    lmdb_options o;
    o.directory = directory;
    o.map_size = std::size_t{256} << 20U;
    o.group_size = 20;
    o.group_delay = 1ms;
    o.open_within = 20s;
    return o;
}

[[noreturn]] void write_until_killed(const std::string& directory, shared_numbers& numbers) {
    lmdb_store s(options_in(directory));
    numbers.open = s.is_open();
    for (std::uint64_t n = numbers.flushed;; ++n) {
        s.put(key_of_number(n), record_of_number(n));
        if (n % 7 == 0 && n > 100) s.put(key_of_number(n - 100), record_of_number(n - 100));
        numbers.put = n + 1;
        if (n % 20 == 19 && s.flush(20s)) numbers.flushed = n + 1;
    }
}

}  // namespace

TEST_CASE("A process killed at any moment leaves a store that opens and is right") {
    const char* const asked = std::getenv("CALLFORWARD_KILLS");
    const int kills = asked != nullptr ? std::atoi(asked) : 50;
    const scratch_folder folder;
    void* const shared = ::mmap(
        nullptr, sizeof(shared_numbers), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    auto& numbers = *new (shared) shared_numbers;
    std::mt19937 random(static_cast<unsigned>(kills));
    std::uint64_t written = 0;
    for (int kill = 0; kill < kills; ++kill) {
        numbers.open = false;
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) write_until_killed(folder.path(), numbers);
        // Also while it opens; and anywhere in its writing.
        const auto moment = std::chrono::microseconds(random() % 40000);
        if (kill % 4 != 0) {
            while (!numbers.open) std::this_thread::sleep_for(100us);
        }
        std::this_thread::sleep_for(moment);
        ::kill(child, SIGKILL);
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(WIFSIGNALED(status));

        lmdb_store s(options_in(folder.path()));
        REQUIRE(s.is_open());
        std::uint64_t missing = 0;
        const std::uint64_t from = kill + 1 == kills || written < 2000 ? 0 : written - 2000;
        for (std::uint64_t n = from; n < numbers.put; ++n) {
            const auto r = s.find(key_of_number(n));
            if (r) REQUIRE(is_record_of(n, *r));
            if (!r && n < numbers.flushed) ++missing;
        }
        CAPTURE(kill);
        CHECK(missing == 0);
        CHECK(numbers.put - numbers.flushed <= 20 + 1);
        written = numbers.flushed;
    }
    MESSAGE(kills << " kills, " << written << " records");
    CHECK(written > 0);
    for (const auto& file : std::filesystem::directory_iterator(folder.path())) {
        CHECK(file.path().filename().string().find(".corrupt-") == std::string::npos);
    }
    ::munmap(shared, sizeof(shared_numbers));
}
