// Damaged and foreign files: never believed, never fatal.
#include "milter/verdicts/lmdb_file.h"
#include "milter/verdicts/lmdb_file_check.h"
#include "milter/verdicts/lmdb_opening.h"
#include "milter/verdicts/lmdb_store.h"

#include <doctest/doctest.h>

#include "scratch_folder.h"
#include "stored_verdicts.h"
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

using namespace callforward;
using namespace std::chrono_literals;
using milter::verdicts::check_lmdb_file;
using milter::verdicts::file_state;
using milter::verdicts::lmdb_options;
using milter::verdicts::lmdb_store;
using tests::is_record_of;
using tests::key_of_number;
using tests::record_of_number;
using tests::scratch_folder;
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t count = 1500;

lmdb_options options_in(const std::string& directory, int* said = nullptr) {
    lmdb_options o;
    o.directory = directory;
    o.map_size = std::size_t{16} << 20U;
    o.group_delay = 1ms;
    o.open_within = 20s;
    o.say = [said](milter::log_level, std::string_view, milter::log_fields) {
        if (said != nullptr) ++*said;
    };
    return o;
}

std::string text_of(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

void fill(lmdb_store& s) {
    for (std::uint64_t n = 0; n < count; ++n) {
        auto r = record_of_number(n);
        // A few need overflow pages.
        if (n % 100 == 99) r.verdict.next_hop_names.assign(30, std::string(200, 'n'));
        s.put(key_of_number(n), r);
        if (n % 200 == 0) REQUIRE(s.flush(20s));
    }
    // Pages that are free again.
    for (std::uint64_t n = 0; n < count; n += 5) s.erase(key_of_number(n));
    REQUIRE(s.flush(20s));
}

// A whole database, made once.
const std::string& sample() {
    static const std::string bytes = [] {
        const scratch_folder folder;
        {
            lmdb_store s(options_in(folder.path()));
            fill(s);
        }
        return text_of(folder.path() + "/data.mdb");
    }();
    return bytes;
}

int moved_aside(const std::string& directory) {
    int found = 0;
    for (const auto& file : fs::directory_iterator(directory)) {
        if (file.path().filename().string().find(".corrupt-") != std::string::npos) ++found;
    }
    return found;
}

// Opens what is there, reads all that may be there, writes, sweeps; how many records it has found.
std::size_t use(const std::string& directory, int* said) {
    lmdb_store s(options_in(directory, said));
    CHECK(s.is_open());
    std::size_t found = 0;
    for (std::uint64_t n = 0; n < count; ++n) {
        const auto r = s.find(key_of_number(n));
        if (!r) continue;
        ++found;
        CHECK(is_record_of(n, *r));
    }
    for (std::uint64_t n = 0; n < 200; ++n) s.put(key_of_number(n), record_of_number(n));
    s.forget_domain(3);
    static_cast<void>(s.flush(20s));
    const auto r = s.find(key_of_number(1));
    CHECK(r.has_value());
    return found;
}

std::size_t use_file(const std::string& bytes, int expected_aside) {
    const scratch_folder folder;
    folder.write("data.mdb", bytes);
    int said = 0;
    const auto found = use(folder.path(), &said);
    CHECK(moved_aside(folder.path()) == expected_aside);
    CHECK(said == expected_aside);
    return found;
}

}  // namespace

TEST_CASE("A whole file is good, and has all its records") {
    CHECK(use_file(sample(), 0) == count - count / 5);
}

TEST_CASE(
    "A file that was cut, zeroed, or is something else is moved aside, and a new one begins") {
    const std::string& whole = sample();
    for (const std::size_t size : {std::size_t{1},
                                   std::size_t{100},
                                   std::size_t{4096},
                                   std::size_t{8191},
                                   std::size_t{8192},
                                   whole.size() / 2}) {
        CAPTURE(size);
        CHECK(use_file(whole.substr(0, size), 1) == 0);
    }
    CHECK(use_file(std::string(whole.size(), '\0'), 1) == 0);
    CHECK(use_file("SQLite format 3", 1) == 0);
    CHECK(use_file(std::string(100000, '\xff'), 1) == 0);
    auto middle = whole;
    for (std::size_t page = 8192; page + 4096 <= middle.size() / 2; page += 4096) {
        middle.replace(page, 4096, 4096, '\0');
    }
    CHECK(use_file(middle, 1) == 0);
    CHECK(use_file({}, 0) == 0);
}

TEST_CASE("A folder in the place of a file is moved aside") {
    const scratch_folder folder;
    fs::create_directories(folder.path() + "/data.mdb/inner");
    fs::create_directories(folder.path() + "/lock.mdb");
    int said = 0;
    CHECK(use(folder.path(), &said) == 0);
    CHECK(said == 1);
    CHECK(moved_aside(folder.path()) >= 1);
}

TEST_CASE("A lock file that is junk does no harm") {
    const scratch_folder folder;
    folder.write("data.mdb", sample());
    folder.write("lock.mdb", std::string(5000, 'x'));
    int said = 0;
    CHECK(use(folder.path(), &said) == count - count / 5);
    CHECK(said == 0);
}

TEST_CASE("A foreign LMDB database is moved aside, one of another format is emptied") {
    const scratch_folder folder;
    std::string why;
    const auto write = [&](const std::string& key, const std::string& value) {
        const auto file =
            milter::verdicts::lmdb_file::open(folder.path(), std::size_t{1} << 20U, why);
        REQUIRE(file);
        const milter::verdicts::lmdb_file::changes one{{key, value}};
        REQUIRE(file->write(one, why) == milter::verdicts::lmdb_file::result::done);
    };
    write("somebody", "else");
    int said = 0;
    CHECK(use(folder.path(), &said) == 0);
    CHECK(moved_aside(folder.path()) == 1);
    CHECK(said == 1);
    // As a release to come, or one of the past, would write it.
    write(std::string(milter::verdicts::about_key), "\x07" + std::string(16, 's'));
    said = 0;
    CHECK(use(folder.path(), &said) == 0);
    CHECK(moved_aside(folder.path()) == 1);
    CHECK(said == 1);
}

TEST_CASE("Whatever bits are flipped, nothing wrong is read and nothing ends the process") {
    const char* const asked = std::getenv("CALLFORWARD_FLIPS");
    const int rounds = asked != nullptr ? std::atoi(asked) : 60;
    const std::string& whole = sample();
    std::mt19937 random(20240229);
    const auto draw = [&](std::size_t below) {
        return std::uniform_int_distribution<std::size_t>(0, below - 1)(random);
    };
    int moved = 0;
    for (int round = 0; round < rounds; ++round) {
        auto bytes = whole;
        const std::size_t page = draw(bytes.size() / 4096) * 4096;
        // Heads of pages, offsets of nodes, heads of nodes, data: each gets its share.
        const std::size_t within = round % 3 == 0 ? 48 : round % 3 == 1 ? 400 : 4096;
        for (std::size_t n = 1 + draw(3); n > 0; --n) {
            const std::size_t at = page + draw(within);
            bytes[at] = static_cast<char>(bytes[at] ^ (1 << draw(8)));
        }
        const scratch_folder folder;
        folder.write("data.mdb", bytes);
        CAPTURE(round);
        int said = 0;
        static_cast<void>(use(folder.path(), &said));
        moved += moved_aside(folder.path());
    }
    // How many depends on where the records are, and so on the store's seed.
    CHECK(moved > 0);
    CHECK(moved < rounds);
}

TEST_CASE("Hundreds of random changes of a small file never confuse the check") {
    const scratch_folder folder;
    {
        lmdb_store s(options_in(folder.path()));
        for (std::uint64_t n = 0; n < 60; ++n) s.put(key_of_number(n), record_of_number(n));
    }
    const auto file = folder.path() + "/data.mdb";
    const auto whole = text_of(file);
    std::mt19937 random(7);
    for (int round = 0; round < 500; ++round) {
        auto bytes = whole;
        for (int n = 0; n < 8; ++n) bytes[random() % bytes.size()] = static_cast<char>(random());
        folder.write("data.mdb", bytes);
        CHECK(check_lmdb_file(file).state != file_state::missing);
    }
    folder.write("data.mdb", whole);
    CHECK(check_lmdb_file(file).state == file_state::good);
}
