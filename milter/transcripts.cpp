#include "milter/transcripts.h"

#include "milter/log.h"
#include "milter/log_line.h"
#include "smtpclient/printable.h"

#include <algorithm>
#include <utility>

namespace callforward::milter {

namespace {

constexpr std::size_t longest_line = 600;  // a reply line of RFC 5321 has 512

std::size_t size_of(const transcripts::entry& e) {
    return e.text.size() + e.recipient.size() + sizeof e;
}

}  // namespace

void transcript::add(char side, std::string_view untrusted) {
    if (full_) return;
    constexpr std::size_t usual = 1024;  // as long as it grows: one piece of memory
    if (text_.empty()) text_.reserve(usual);
    const std::size_t before = text_.size();
    (text_ += side).append(": ");
    smtpclient::append_printable_utf8(text_, untrusted, longest_line);
    text_ += '\n';
    full_ = text_.size() > longest;
    if (full_) text_.replace(before, std::string::npos, "*: the rest was not kept\n");
}

void log_dialogue(std::uint64_t id, std::string_view text) {
    if (!log::takes(log_level::debug)) return;
    const std::string name = make_trace_id(id);
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        log::say(log_level::debug, "dialogue", {{"id", name}, {"line", line}});
        text.remove_prefix(std::min(text.size(), line.size() + 1));
    }
}

void transcripts::keep(entry e) {
    e.text.shrink_to_fit();
    const std::lock_guard lock(mutex_);
    bytes_ += size_of(e);
    entries_.push_back(std::move(e));
    while (entries_.size() > most || bytes_ > most_bytes) {
        bytes_ -= size_of(entries_.front());
        entries_.pop_front();
    }
}

std::optional<transcripts::entry> transcripts::of_id(std::uint64_t id) const {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(
        entries_.rbegin(), entries_.rend(), [&](const entry& e) { return e.id == id; });
    return found == entries_.rend() ? std::nullopt : std::optional(*found);
}

std::optional<transcripts::entry> transcripts::about(std::string_view recipient) const {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(entries_.rbegin(), entries_.rend(), [&](const entry& e) {
        return e.recipient == recipient;
    });
    return found == entries_.rend() ? std::nullopt : std::optional(*found);
}

}  // namespace callforward::milter
