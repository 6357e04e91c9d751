// What was said with next hops lately, so that a decision can be understood after the fact.
//
// A ring of the last 500 call-forwards, each of at most 8 KiB, all of at most 2 MiB. Lines are made
// printable when they come; secrets are masked before they get here. Thread: any; a transcript
// under way belongs to one event loop.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::milter {

class transcript {
public:
    static constexpr std::size_t longest = std::size_t{8} * 1024;

    // side: as of smtpclient::trace.
    void add(char side, std::string_view untrusted);
    [[nodiscard]] const std::string& text() const { return text_; }  // "C: ...\nS: ...\n"

private:
    std::string text_;
    bool full_ = false;
};

// Each line of a dialogue as one of the log, at level debug.
void log_dialogue(std::uint64_t id, std::string_view text);

class transcripts {
public:
    static constexpr std::size_t most = 500;
    static constexpr std::size_t most_bytes = std::size_t{2} * 1024 * 1024;

    struct entry {
        std::uint64_t id = 0;   // of the RCPT that asked first
        std::string recipient;  // mailbox::key()
        std::chrono::system_clock::time_point at;
        std::string text;
    };
    void keep(entry e);
    [[nodiscard]] std::optional<entry> of_id(std::uint64_t id) const;
    // The latest about this recipient.
    [[nodiscard]] std::optional<entry> about(std::string_view recipient) const;

private:
    mutable std::mutex mutex_;
    std::deque<entry> entries_;  // the oldest first
    std::size_t bytes_ = 0;
};

}  // namespace callforward::milter
