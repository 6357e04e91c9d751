#include "milter/log_queue.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace callforward::milter {

namespace {

constexpr std::size_t longest_batch = std::size_t{128} * 1024;

}  // namespace

log_queue::log_queue(std::size_t room) : ring_(std::max(room, longest_line + sizeof(head))) {}

log_queue::line log_queue::batch::take_line(std::string_view& rest) {
    head h{};
    std::memcpy(&h, rest.data(), sizeof h);
    const line l{h.level, h.when, rest.substr(sizeof h, h.size)};
    rest.remove_prefix(sizeof h + h.size);
    return l;
}

void log_queue::put(const char* bytes, std::size_t count) {
    const std::size_t at = (begin_ + used_) % ring_.size();
    const std::size_t first = std::min(count, ring_.size() - at);
    std::memcpy(ring_.data() + at, bytes, first);
    std::memcpy(ring_.data(), bytes + first, count - first);
    used_ += count;
}

void log_queue::look(char* bytes, std::size_t count) const {
    const std::size_t first = std::min(count, ring_.size() - begin_);
    std::memcpy(bytes, ring_.data() + begin_, first);
    std::memcpy(bytes + first, ring_.data(), count - first);
}

void log_queue::drop(std::size_t count) {
    used_ -= count;
    // From its front again where it can be: what was written just before is still in the
    // processor's cache.
    begin_ = used_ == 0 ? 0 : (begin_ + count) % ring_.size();
}

log_queue::head log_queue::front() const {
    std::array<char, sizeof(head)> bytes{};
    look(bytes.data(), bytes.size());
    head h{};
    std::memcpy(&h, bytes.data(), sizeof h);
    return h;
}

void log_queue::push(log_level level, time_point when, std::string_view text) {
    const head h{std::min(text.size(), longest_line), level, when};
    std::array<char, sizeof(head)> bytes{};
    std::memcpy(bytes.data(), &h, sizeof h);
    bool wake = false;
    {
        const std::lock_guard lock(mutex_);
        while (ring_.size() - used_ < sizeof h + h.size) {
            drop(sizeof h + front().size);
            ++lost_;
        }
        put(bytes.data(), bytes.size());
        put(text.data(), h.size);
        wake = reader_waits_ || used_ > ring_.size() / 2;
    }
    if (wake) changed_.notify_one();
}

bool log_queue::take(batch& into) {
    std::unique_lock lock(mutex_);
    reader_waits_ = true;
    changed_.wait(lock, [this] { return used_ > 0 || closed_; });
    reader_waits_ = false;
    into.lost_ = std::exchange(lost_, 0);
    into.bytes_.clear();
    while (used_ > 0) {
        const std::size_t next = sizeof(head) + front().size;
        if (!into.bytes_.empty() && into.bytes_.size() + next > longest_batch) break;
        const std::size_t at = into.bytes_.size();
        into.bytes_.resize(at + next);
        look(into.bytes_.data() + at, next);
        drop(next);
    }
    return !into.bytes_.empty();
}

void log_queue::rest(std::chrono::milliseconds at_most) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, at_most, [this] { return used_ > ring_.size() / 2 || closed_; });
}

void log_queue::close() {
    {
        const std::lock_guard lock(mutex_);
        closed_ = true;
    }
    changed_.notify_one();
}

}  // namespace callforward::milter
