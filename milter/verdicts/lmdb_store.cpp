#include "milter/verdicts/lmdb_store.h"

#include "milter/verdicts/change_group.h"
#include "milter/verdicts/lmdb_file.h"
#include "milter/verdicts/lmdb_opening.h"
#include "milter/verdicts/lmdb_sweeping.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <new>
#include <thread>
#include <utility>

namespace callforward::milter::verdicts {

namespace {

using clock = std::chrono::steady_clock;
using result = lmdb_file::result;

constexpr std::string_view unwritable =
    "the cache on disk cannot be written; new verdicts are kept in memory";
constexpr std::string_view late =
    "the cache on disk is emptied: it could be used too late for what was to be forgotten";
constexpr double nearly_full = 0.8;  // erasing needs pages, too

}  // namespace

class lmdb_store::implementation {
public:
    explicit implementation(lmdb_options options) : options_(std::move(options)) {
        adopt(hash_seed::draw());
        next_sweep_ = clock::now() + options_.between_sweeps;
        thread_ = std::thread([this] { run(); });
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, options_.open_within, [this] { return tried_; });
    }

    ~implementation() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        thread_.join();
    }

    std::shared_ptr<lmdb_file> file() const {
        const std::lock_guard lock(mutex_);
        return file_;
    }

    bool wait_for_opening(std::chrono::milliseconds at_most) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, at_most, [this] { return tried_; });
    }

    [[nodiscard]] hash_seed seed() const { return *seed_.load(std::memory_order_acquire); }

    std::optional<record> find(const digest& key) {
        const std::string name = key.text();
        std::optional<std::string> bytes;
        if (const auto file = current(name, bytes); file && !bytes) {
            bytes = file->get(name);
            if (bytes && is_forgotten(*bytes)) bytes.reset();
        }
        if (!bytes || bytes->empty()) return std::nullopt;
        auto r = decode(*bytes, key, seed());
        if (!r) change(key, {});  // damaged: it is of no use to anybody
        return r;
    }

    void change(const digest& key, std::string bytes) {
        bool wakes = false;
        {
            const std::lock_guard lock(mutex_);
            wakes = queue_.empty() || queue_.changes.size() + 1 == options_.group_size;
            queue_.put(key.text(), std::move(bytes), options_.queued, options_.outdated);
        }
        if (wakes) wake_.notify_one();
    }

    void forget(const forgetting& what) {
        {
            const std::lock_guard lock(mutex_);
            queue_.forget(what);
        }
        wake_.notify_one();
    }

    bool flush(std::chrono::milliseconds at_most) {
        std::unique_lock lock(mutex_);
        const auto written = [this] { return queue_.empty() && writing_.empty(); };
        urgent_ = true;
        wake_.notify_one();
        changed_.wait_for(lock, at_most, [&] { return !file_ || failing_ || written(); });
        return written();
    }

    std::optional<page> list(std::string from, std::size_t limit) {
        constexpr std::chrono::milliseconds for_the_queue{500};
        flush(for_the_queue);
        const auto file = this->file();
        if (!file) return std::nullopt;
        return read_page(*file, std::move(from), limit, seed(), [this](std::string_view bytes) {
            return is_forgotten(bytes);
        });
    }

    std::size_t size() const {
        const auto file = this->file();
        const std::size_t all = file ? file->entries() : 0;
        return all > 0 ? all - 1 : 0;
    }

    void sweep_now() {
        {
            const std::lock_guard lock(mutex_);
            next_sweep_ = clock::now();
        }
        wake_.notify_one();
    }

private:
    // The file, and what is queued for this key: empty when it is to be erased.
    std::shared_ptr<lmdb_file> current(const std::string& name,
                                       std::optional<std::string>& queued) const {
        const std::lock_guard lock(mutex_);
        if (const auto row = queue_.changes.find(name); row != queue_.changes.end()) {
            queued = row->second;
        } else if (const auto old = writing_.changes.find(name); old != writing_.changes.end()) {
            queued = queue_.forgets(old->second) ? std::string() : old->second;
        }
        return file_;
    }

    bool is_forgotten(std::string_view bytes) const {
        const std::lock_guard lock(mutex_);
        return queue_.forgets(bytes) || writing_.forgets(bytes);
    }

    // Seeds are few and never freed: readers hold no lock.
    void adopt(const hash_seed& seed) { seed_.store(&seeds_.emplace_back(seed)); }
    // All below is for the store's own thread.
    void run() {
        open();
        {
            const std::lock_guard lock(mutex_);
            tried_ = true;
        }
        changed_.notify_all();
        while (wait_for_work()) {
            try {
                if (!file_) open();
                if (file_) write_queue();
                std::string why;
                if (file_ && sweep_is_due() && sweep(why) != result::done)
                    say_failing(unwritable, why);
            } catch (const std::bad_alloc&) {  // this group is forgotten, as by a kill
                finish_group(result::done);
            }
        }
        if (file_) write_queue();
    }

    // False: the end.
    bool wait_for_work() {
        std::unique_lock lock(mutex_);
        for (;;) {
            const bool waits = !file_ || failing_;
            const auto until = waits ? next_try_ : next_sweep_;
            const bool works = !waits && !queue_.empty();
            if (stopping_ || works || clock::now() >= until) break;
            wake_.wait_until(lock, until);
        }
        const auto full_at = clock::now() + options_.group_delay;
        const auto enough = [this] {
            return stopping_ || urgent_ || queue_.empty() ||
                   queue_.changes.size() >= options_.group_size;
        };
        wake_.wait_until(lock, full_at, enough);
        return !stopping_;
    }

    bool sweep_is_due() {
        const std::lock_guard lock(mutex_);
        if (failing_ || clock::now() < next_sweep_) return false;
        next_sweep_ = clock::now() + options_.between_sweeps;
        return true;
    }

    void write_queue() {
        {
            const std::lock_guard lock(mutex_);
            std::swap(queue_, writing_);
            urgent_ = false;
        }
        std::string why;
        result r = make_room(false, why);
        if (r == result::done) r = write_group(why);
        if (r == result::full) {
            r = make_room(true, why);
            if (r == result::done) r = write_group(why);
        }
        r == result::done ? say_usable() : say_failing(unwritable, why);
        finish_group(r);
        if (r == result::damaged) reopen();
    }

    void finish_group(result r) {
        {
            const std::lock_guard lock(mutex_);
            if (r == result::failed) writing_.give_to(queue_);
            writing_ = {};
            failing_ = r != result::done;
            if (failing_) next_try_ = clock::now() + options_.try_again;
        }
        changed_.notify_all();
    }

    result write_group(std::string& why) {
        result r = result::done;
        if (!writing_.forgotten.empty()) {
            const auto forgets = [this](auto bytes) { return writing_.forgets(bytes); };
            r = erase_where(*file_, forgets, why);
        }
        return r == result::done ? file_->write(writing_.changes, why) : r;
    }

    result sweep(std::string& why) {
        return erase_expired(*file_, options_.stale, options_.remembered, why);
    }

    // Erasing frees few pages, but room in all of them: until as many entries are there again,
    // nothing more has to go.
    result make_room(bool is_full, std::string& why) {
        const std::size_t entries = file_->entries();
        if (!is_full && (file_->used() < nearly_full || entries < room_until_)) return result::done;
        result r = sweep(why);
        if (r == result::done && file_->entries() > entries - entries / 10) r = drop_oldest(why);
        // Pages get emptier as records come and go; where that eats up the reserve, fewer stay.
        const std::size_t left = file_->entries();
        room_until_ =
            file_->used() > 0.9 ? left + (entries - std::min(left, entries)) / 2 : entries;
        if (r != result::full) return r;
        // Not even erasing has room: begin anew, but stay ours.
        r = file_->erase_all(why);
        return r == result::done ? claim_lmdb(*file_, seed(), why) : r;
    }

    result drop_oldest(std::string& why) {
        if (!std::exchange(said_full_, true)) {
            options_.say(log_level::warning,
                         "the cache on disk is full; what is oldest is dropped",
                         {{"directory", options_.directory}});
        }
        return erase_oldest(*file_, why);
    }

    void open() {
        opened_file opened = open_lmdb(options_, seed());
        if (!opened.file) {
            say_failing("the cache on disk cannot be used; verdicts are kept in memory only",
                        opened.why);
        } else {
            say_usable();
        }
        const std::lock_guard lock(mutex_);
        next_try_ = clock::now() + options_.try_again;
        if (!opened.file) return;
        if (opened.seed != seed()) {
            adopt(opened.seed);
            if (queue_.lose_names()) {
                options_.say(log_level::warning, late, {{"directory", options_.directory}});
            }
        }
        failing_ = false;
        room_until_ = 0;
        file_ = std::move(opened.file);
    }

    void reopen() {
        std::shared_ptr<lmdb_file> old;
        {
            const std::lock_guard lock(mutex_);
            old = std::move(file_);
        }
        // liblmdb must not have a file open twice; readers are gone in microseconds.
        while (old.use_count() > 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        old.reset();
        open();  // looks at the file, and moves it aside if need be
    }

    void say_failing(std::string_view what, const std::string& why) {
        if (std::exchange(said_failing_, true)) return;
        options_.say(log_level::error, what, {{"directory", options_.directory}, {"why", why}});
    }

    void say_usable() {
        if (!std::exchange(said_failing_, false)) return;
        options_.say(log_level::info,
                     "the cache on disk can be used again",
                     {{"directory", options_.directory}});
    }

    const lmdb_options options_;
    std::deque<hash_seed> seeds_;
    std::atomic<const hash_seed*> seed_{nullptr};

    mutable std::mutex mutex_;
    std::condition_variable wake_;     // of the store's thread
    std::condition_variable changed_;  // of those who wait for it
    // Shared with readers that are in it while the thread drops it. Changed by the thread only.
    std::shared_ptr<lmdb_file> file_;
    change_group queue_;
    change_group writing_;  // changed by the thread only
    bool tried_ = false;
    bool urgent_ = false;
    bool failing_ = false;
    bool stopping_ = false;
    clock::time_point next_sweep_;
    clock::time_point next_try_;

    // The thread's own.
    std::size_t room_until_ = 0;
    bool said_failing_ = false;
    bool said_full_ = false;
    std::thread thread_;
};

lmdb_store::lmdb_store(const lmdb_options& options)
    : implementation_(std::make_unique<implementation>(options)) {}

lmdb_store::~lmdb_store() = default;

bool lmdb_store::wait_for_opening(std::chrono::milliseconds at_most) {
    return implementation_->wait_for_opening(at_most);
}

hash_seed lmdb_store::seed() const {
    return implementation_->seed();
}

std::optional<record> lmdb_store::find(const digest& key) {
    return implementation_->find(key);
}

void lmdb_store::put(const digest& key, const record& r) {
    implementation_->change(key, encode(r, key, seed()));
}

void lmdb_store::erase(const digest& key) {
    implementation_->change(key, {});
}

void lmdb_store::forget_address(std::uint64_t tag) {
    implementation_->forget({forgetting::what::addresses, {tag}});
}

void lmdb_store::forget_domain(std::uint32_t tag) {
    implementation_->forget({forgetting::what::domain, {tag}});
}

void lmdb_store::forget_addresses(tag_set tags) {
    implementation_->forget({forgetting::what::addresses, std::move(tags)});
}

bool lmdb_store::flush(std::chrono::milliseconds at_most) {
    return implementation_->flush(at_most);
}

std::optional<store::page> lmdb_store::list(const std::string& from, std::size_t limit) {
    return implementation_->list(from, limit);
}

bool lmdb_store::forget_all() {
    implementation_->forget({forgetting::what::everything, {}});
    return true;
}

std::string lmdb_store::complaint() const {
    return is_open() ? "" : "the cache on disk cannot be used; the log says why";
}

bool lmdb_store::is_open() const {
    return implementation_->file() != nullptr;
}

std::size_t lmdb_store::size() const {
    return implementation_->size();
}

void lmdb_store::sweep_now() {
    implementation_->sweep_now();
}

}  // namespace callforward::milter::verdicts
