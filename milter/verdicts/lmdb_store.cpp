#include "milter/verdicts/lmdb_store.h"

#include "milter/verdicts/change_group.h"
#include "milter/verdicts/lmdb_condition.h"
#include "milter/verdicts/lmdb_file.h"
#include "milter/verdicts/lmdb_opening.h"
#include "milter/verdicts/lmdb_room.h"
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
constexpr int most_turns = 20;  // at making room: a seventh of what there was is left

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
        leave();
    }

    // A restart must not believe what was to be forgotten.
    void leave() {
        {
            const std::lock_guard lock(mutex_);
            if (groups_.waiting.forgotten.empty() && groups_.writing.forgotten.empty()) return;
            if (file_ && file_->entries() <= 1) return;
        }
        remove_file();
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
        while (!look(name, bytes)) {
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
            wakes = groups_.waiting.empty() ||
                    groups_.waiting.changes.size() + 1 == options_.group_size;
            groups_.waiting.put(key.text(), std::move(bytes), options_.queued, options_.outdated);
        }
        if (wakes) wake_.notify_one();
    }

    void forget(const forgetting& what) {
        {
            const std::lock_guard lock(mutex_);
            groups_.waiting.forget(what);
        }
        wake_.notify_one();
    }

    bool flush(std::chrono::milliseconds at_most) {
        std::unique_lock lock(mutex_);
        const std::size_t group = groups_.last();  // not what will come after it
        urgent_ = true;
        const std::size_t failures = failures_;
        if (failing_ && file_) next_try_ = clock::now();  // somebody waits for it
        wake_.notify_one();
        changed_.wait_for(lock, at_most, [&] {
            return !file_ || failures_ != failures || groups_.finished >= group;
        });
        return failures_ == failures && groups_.finished >= group;
    }

    std::optional<page> list(std::string from, std::size_t limit) {
        constexpr std::chrono::milliseconds for_the_queue{500};
        if (from.empty()) flush(for_the_queue);
        const auto file = this->file();
        if (!file) return std::nullopt;
        return read_page(*file, std::move(from), limit, seed(), [this](std::string_view bytes) {
            return is_forgotten(bytes);
        });
    }

    [[nodiscard]] std::string complaint() const {
        const std::lock_guard lock(mutex_);
        if (!file_) return "the cache on disk cannot be used; the log says why";
        return failing_ ? "the cache on disk cannot be written; the log says why" : "";
    }

    void use(std::chrono::seconds stale, std::chrono::seconds remembered) {
        room_.use(stale, remembered);
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
    // What is queued for this key, or in the file; empty when it is to be erased. False: a group
    // was finished since the file was read, and what that forgot is no longer known to be
    // forgotten.
    bool look(const std::string& name, std::optional<std::string>& bytes) const {
        std::shared_ptr<lmdb_file> file;
        std::size_t finished = 0;
        {
            const std::lock_guard lock(mutex_);
            bytes = groups_.find(name);
            file = file_;
            finished = groups_.finished;
        }
        if (bytes || !file) return true;
        bytes = file->get(name);
        if (!bytes) return true;
        const std::lock_guard lock(mutex_);
        if (groups_.forgets(*bytes)) bytes.reset();
        return !bytes || groups_.finished == finished;
    }

    bool is_forgotten(std::string_view bytes) const {
        const std::lock_guard lock(mutex_);
        return groups_.forgets(bytes);
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
        for (bool goes_on = true; goes_on;) {
            goes_on = wait_for_work();
            try {
                if (!file_ && goes_on) open();
                if (file_) write_queue();
                std::string why;
                if (file_ && goes_on && sweep_is_due() && room_.sweep(*file_, why) != result::done)
                    condition_.failing(condition_.unwritable, why);
            } catch (const std::bad_alloc&) {
                finish_group(result::failed);
            }
        }
    }

    // False: the end.
    bool wait_for_work() {
        std::unique_lock lock(mutex_);
        for (;;) {
            const bool waits = !file_ || failing_;
            const auto until = waits ? next_try_ : next_sweep_;
            const bool works = !waits && !groups_.waiting.empty();
            if (stopping_ || works || clock::now() >= until) break;
            wake_.wait_until(lock, until);
        }
        const auto full_at = clock::now() + options_.group_delay;
        const auto enough = [this] {
            return stopping_ || urgent_ || groups_.waiting.empty() ||
                   groups_.waiting.changes.size() >= options_.group_size;
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
            groups_.begin();
            urgent_ = false;
        }
        std::string why;
        result r = result::full;
        // A tenth goes at a time, and all that waited for a disk may come at once.
        for (int turn = 0; r == result::full && turn < most_turns; ++turn) {
            r = room_.make(*file_, turn > 0, seed(), why);
            if (r == result::done) r = write_group(why);
        }
        r == result::done ? condition_.usable() : condition_.failing(condition_.unwritable, why);
        const bool nothing_counts = groups_.writing.forgets_everything();
        finish_group(r);
        // Damaged again, though it was looked at: not before the next try.
        was_damaged_ = r == result::damaged && !was_damaged_;
        if (was_damaged_) reopen();
        // Where it cannot be emptied, there may be room for a new one.
        const bool is_void = r != result::done && nothing_counts && file_ && file_->entries() > 1;
        if (is_void && remove_file()) reopen();
    }

    bool remove_file() {
        if (!remove_lmdb(options_.directory)) return false;
        condition_.warn(condition_.removed);
        return true;
    }

    void finish_group(result r) {
        {
            const std::lock_guard lock(mutex_);
            groups_.finish(r == result::done);
            failing_ = r != result::done;
            if (failing_) next_try_ = clock::now() + options_.try_again;
            if (failing_) ++failures_;
        }
        changed_.notify_all();
    }

    result write_group(std::string& why) {
        result r = result::done;
        if (!groups_.writing.forgotten.empty()) {
            const auto forgets = [this](auto bytes) { return groups_.writing.forgets(bytes); };
            r = erase_where(*file_, forgets, why);
        }
        return r == result::done ? file_->write(groups_.writing.changes, why) : r;
    }

    void open() {
        opened_file opened = open_lmdb(options_, seed());
        opened.file ? condition_.usable() : condition_.failing(condition_.unusable, opened.why);
        const std::lock_guard lock(mutex_);
        next_try_ = clock::now() + options_.try_again;
        if (!opened.file) return;
        if (opened.seed != seed()) {
            adopt(opened.seed);
            if (groups_.waiting.lose_names()) condition_.warn(condition_.late);
        }
        failing_ = false;
        room_.begin_anew();
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

    const lmdb_options options_;
    std::deque<hash_seed> seeds_;
    std::atomic<const hash_seed*> seed_{nullptr};

    mutable std::mutex mutex_;
    std::condition_variable wake_;     // of the store's thread
    std::condition_variable changed_;  // of those who wait for it
    // Shared with readers that are in it while the thread drops it. Changed by the thread only.
    std::shared_ptr<lmdb_file> file_;
    change_groups groups_;  // what is being written is changed by the thread only
    bool tried_ = false;
    bool urgent_ = false;
    bool failing_ = false;
    std::size_t failures_ = 0;
    bool stopping_ = false;
    clock::time_point next_sweep_;
    clock::time_point next_try_;

    // The thread's own.
    bool was_damaged_ = false;
    lmdb_condition condition_{options_};
    lmdb_room room_{options_};
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

void lmdb_store::forget_domain(std::uint32_t tag) {
    implementation_->forget({forgetting::what::domain, {tag}});
}

void lmdb_store::forget_addresses(tag_set tags) {
    implementation_->forget({forgetting::what::addresses, std::move(tags)});
}

void lmdb_store::forget_refusals(tag_set domain_tags, wall_time since) {
    implementation_->forget({forgetting::what::refusals, std::move(domain_tags), since});
}

bool lmdb_store::flush(std::chrono::milliseconds at_most) {
    return implementation_->flush(at_most);
}

void lmdb_store::finish(std::chrono::milliseconds at_most) {
    if (!flush(at_most)) implementation_->leave();
}

std::optional<store::page> lmdb_store::list(const std::string& from, std::size_t limit) {
    return implementation_->list(from, limit);
}

bool lmdb_store::forget_all() {
    implementation_->forget({forgetting::what::everything, {}});
    return true;
}

std::string lmdb_store::complaint() const {
    return implementation_->complaint();
}

void lmdb_store::keep(std::chrono::seconds stale, std::chrono::seconds remembered) {
    implementation_->use(stale, remembered);
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
