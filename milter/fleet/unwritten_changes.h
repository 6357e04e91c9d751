// What an operator has changed and the shared store has not got yet, in the order of the changes.
//
// Nearly always for a millisecond; while the store is away, full or read-only for as long as that
// lasts. Of an address or domain only the last word is kept. Until it is written no record of it is
// to be taken from the store: see concerns(). Bounded to 100,000 names, and 10,000 once nothing
// could be written for five seconds; beyond that all become the forgetting of whole domains, or of
// everything, for too little known is no harm. So does a declaration that cannot be written for ten
// seconds become forgetting: another edge may have forgotten the address since, and that would be
// undone; and one that another edge is heard to have forgotten does so at once. Ends with the
// process. Thread: any; concerns() takes no lock while there is none.
#pragma once

#include "milter/verdicts/cache.h"
#include "smtpclient/mailbox.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace callforward::milter::fleet {

class unwritten_changes {
public:
    // While they are written: twice what one request may declare.
    static constexpr std::size_t most = 100'000;
    static constexpr std::size_t most_kept = 10'000;
    static constexpr std::chrono::seconds lasting{5};
    static constexpr std::chrono::seconds declared_within{10};
    static constexpr std::chrono::seconds longest_turn{60};  // where nothing fails
    using time_point = std::chrono::steady_clock::time_point;

    struct item {
        std::uint64_t number;
        verdicts::change what;
        // Known before the lock is taken, for all event loops take it: of an address its
        // mailbox::key(), a domain, or "" for all; and an address' domain, if it has one.
        std::string name;
        std::string domain;
        time_point since;
        bool told = false;  // to the other edges, though it is not written
    };

    void put(const std::vector<verdicts::change>& some, time_point now);
    // Another edge has forgotten this: what was declared of it before is only to be forgotten, too.
    void outdate(const verdicts::change& by);
    [[nodiscard]] bool concerns(const smtpclient::mailbox& recipient) const;
    // The last word on it is that it is forgotten.
    [[nodiscard]] bool forgets(const smtpclient::mailbox& recipient) const;
    [[nodiscard]] std::size_t size() const { return count_; }

    // For who writes them: the oldest, to be tried now. One that forgets everything comes alone.
    [[nodiscard]] std::vector<item> begin(std::size_t at_most, time_point now);
    void told(const std::vector<item>& some);
    void written(const std::vector<item>& some);
    void failed(time_point now);  // the store takes nothing now
    // Of how many names only the domains are left, or less, since this was asked for.
    [[nodiscard]] std::size_t take_merged();
    // How many declarations only forget their address by now, since this was asked for.
    [[nodiscard]] std::size_t take_outdated();

    struct standing {
        bool written = false;  // every one as it was put
        // Some were merged: of how many domains everything is forgotten instead, 0 for all.
        std::optional<std::size_t> merged;
    };
    [[nodiscard]] std::uint64_t newest() const;
    // How it stands with what was put after `after` was the newest: when all that is put by now is
    // written, or cannot be written now, or the time is over.
    [[nodiscard]] standing wait(std::uint64_t after, std::chrono::milliseconds at_most) const;
    // How many are left then. Also what has failed is waited for: it is tried again all the time.
    [[nodiscard]] std::size_t wait_until_empty(std::chrono::milliseconds at_most) const;
    void close();  // nobody waits any more

private:
    struct list {
        std::map<std::uint64_t, item> items;
        std::unordered_map<std::string, std::uint64_t> numbers;  // by name
    };
    // About it, its domain or all; nothing: none waits. With the lock held.
    [[nodiscard]] const item* last_word_on(const smtpclient::mailbox& recipient) const;
    static void insert(list& to, item fresh);
    void make_room(std::size_t more);
    void append_first_of(list& fresh) noexcept;
    void forget_instead(std::map<std::uint64_t, item>::iterator declared) noexcept;
    void erase(std::uint64_t number);
    // Gives what was before: freeing it takes its time, and event loops wait for the lock.
    [[nodiscard]] list merge();

    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
    list list_;
    std::uint64_t last_ = 0;
    std::uint64_t tried_ = 0;   // the last when an attempt began
    std::uint64_t failed_ = 0;  // the same, of one that has failed
    std::optional<time_point> failing_since_;
    std::uint64_t merged_ = 0;        // the last when the newest merger was
    std::size_t domains_merged_ = 0;  // what that has left; 0: everything
    std::size_t names_merged_ = 0;
    std::size_t outdated_ = 0;
    bool closed_ = false;
    std::atomic<std::size_t> count_ = 0;
};

}  // namespace callforward::milter::fleet
