#include "milter/verdicts/lmdb_opening.h"

#include "milter/verdicts/lmdb_file_check.h"
#include "milter/verdicts/record.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <optional>
#include <system_error>

namespace callforward::milter::verdicts {

namespace {

namespace fs = std::filesystem;

std::string about_text(const hash_seed& seed) {
    return static_cast<char>(record_version) + digest{seed.first, seed.second}.text();
}

std::optional<hash_seed> seed_in(std::string_view about) {
    if (about.size() != 1 + digest::size) return std::nullopt;
    if (about[0] != static_cast<char>(record_version)) return std::nullopt;
    std::array<char, digest::size> bytes{};
    std::copy(about.begin() + 1, about.end(), bytes.begin());
    const digest d = digest::of_bytes(bytes);
    return hash_seed{d.first, d.second};
}

std::string aside(const std::string& path) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(
        std::chrono::system_clock::now().time_since_epoch());
    return path + ".corrupt-" + std::to_string(seconds.count());
}

bool make_directory(const std::string& directory, std::string& why) {
    std::error_code ignored;
    fs::create_directories(fs::path(directory).parent_path(), ignored);
    if (::mkdir(directory.c_str(), 0750) == 0) return true;
    const int error = errno;
    if (error == EEXIST && fs::is_directory(directory, ignored)) return true;
    why = std::generic_category().message(error == EEXIST ? ENOTDIR : error);
    return false;
}

class opening {
public:
    explicit opening(const lmdb_options& options)
        : options_(options),
          data_(options.directory + "/data.mdb"),
          lock_(options.directory + "/lock.mdb") {}

    opened_file run(const hash_seed& seed) {
        opened_file opened{nullptr, seed, {}};
        if (!make_directory(options_.directory, opened.why)) return opened;
        const file_check check = check_lmdb_file(data_);
        opened.why = check.why;
        if (check.state == file_state::unknown) return opened;
        if (check.state == file_state::damaged && !move_aside(opened.why)) return opened;
        open(opened);
        if (opened.file && is_foreign(*opened.file)) {
            opened.file.reset();
            opened.why = "not a database of this program";
            if (move_aside(opened.why)) open(opened);
        }
        if (opened.file && !take_possession(opened)) opened.file.reset();
        return opened;
    }

private:
    void open(opened_file& into) {
        std::error_code ignored;
        if (fs::is_directory(lock_, ignored)) fs::rename(lock_, aside(lock_), ignored);
        into.file = lmdb_file::open(options_.directory, options_.map_size, into.why);
    }

    // On failure `why` says so.
    bool move_aside(std::string& why) {
        const std::string where = aside(data_);
        std::error_code error;
        fs::rename(data_, where, error);
        if (error) {
            why += "; it cannot be moved aside: " + error.message();
            return false;
        }
        // Its locks are about the file that has gone.
        fs::remove(lock_, error);
        options_.say(log_level::error,
                     "the cache on disk is damaged, or something else; it is moved aside, and a "
                     "new one begins",
                     {{"file", where}, {"why", why}});
        return true;
    }

    static bool is_foreign(lmdb_file& file) { return file.entries() > 0 && !file.get(about_key); }

    // One of ours gives us its seed; a new one gets ours; one of another format is emptied first.
    bool take_possession(opened_file& opened) {
        if (const auto about = opened.file->get(about_key)) {
            if (const auto theirs = seed_in(*about)) {
                opened.seed = *theirs;
                return true;
            }
            options_.say(log_level::info,
                         "the cache on disk has another format; it begins anew",
                         {{"directory", options_.directory}});
            if (opened.file->erase_all(opened.why) != lmdb_file::result::done) return false;
        }
        return claim_lmdb(*opened.file, opened.seed, opened.why) == lmdb_file::result::done;
    }

    const lmdb_options& options_;
    std::string data_;
    std::string lock_;
};

}  // namespace

lmdb_file::result claim_lmdb(lmdb_file& file, const hash_seed& seed, std::string& why) {
    const lmdb_file::changes first{{std::string(about_key), about_text(seed)}};
    return file.write(first, why);
}

bool remove_lmdb(const std::string& directory) {
    std::error_code error;
    if (!fs::remove(directory + "/data.mdb", error)) return false;
    fs::remove(directory + "/lock.mdb", error);  // about the file that has gone
    return true;
}

opened_file open_lmdb(const lmdb_options& options, const hash_seed& seed) {
    return opening(options).run(seed);
}

}  // namespace callforward::milter::verdicts
