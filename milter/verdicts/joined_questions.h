// Equal questions under way are asked once: who comes second waits for the first one's answer.
//
// The answer is kept alive by those who wait, not by the table, which forgets a question when it is
// answered. Waiting is bounded by each waiter's own patience; a question goes on without waiters,
// and its answer fills the cache. So many may be under way in all, and of them a share for each
// recipient domain, so that a slow or attacked one does not use up everybody's; to join one that is
// under way is always free. Thread: any.
#pragma once

#include "smtpclient/verdict.h"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace callforward::milter::verdicts {

// Where an answer was found.
enum class found_at : std::uint8_t {
    next_hop,
    next_hop_in_doubt,  // of a domain that is closed (interlock.h): it rejects nobody
    shared_store,
    other_edge,
};

class pending_answer {
public:
    // The verdict, or nothing when it is not there by then. Shared with the cache and other
    // waiters, never changed.
    [[nodiscard]] std::shared_ptr<const smtpclient::verdict> wait_until(
        std::chrono::steady_clock::time_point limit);
    void give(std::shared_ptr<const smtpclient::verdict> v, found_at where);
    // After wait_until() has given a verdict.
    [[nodiscard]] found_at where() const { return where_; }

private:
    std::mutex mutex_;
    std::condition_variable answered_;
    std::shared_ptr<const smtpclient::verdict> verdict_;
    found_at where_ = found_at::next_hop;
};

class joined_questions {
public:
    // At most `limit` questions are under way at once, 0: no limit; and at most `share` percent of
    // them for one domain, but at least one, 0: no limit.
    explicit joined_questions(std::size_t limit, unsigned share = 0)
        : limit_(limit), share_(share) {}
    // For the questions that begin after it.
    void use(std::size_t limit, unsigned share);

    struct ticket {
        std::shared_ptr<pending_answer>
            answer;                   // shared by all who wait; nothing when a limit is reached
        bool is_first = false;        // this caller has to see to it that the question is asked
        bool domain_is_full = false;  // why there is no answer: the domain's share, not the whole
    };
    // domain: whose share the question counts against.
    [[nodiscard]] ticket join(const std::string& key, std::string_view domain = {});
    // The question is no longer under way; whoever holds a ticket gets the verdict.
    void answer(const std::string& key,
                const std::shared_ptr<const smtpclient::verdict>& v,
                found_at where = found_at::next_hop);
    [[nodiscard]] std::size_t size() const;

private:
    using domain_counts = std::map<std::string, std::size_t, std::less<>>;  // never 0
    struct question {
        std::shared_ptr<pending_answer> pending;
        domain_counts::iterator domain;
    };
    [[nodiscard]] bool is_full(domain_counts::const_iterator domain) const;

    mutable std::mutex mutex_;
    std::size_t limit_;
    unsigned share_;
    std::unordered_map<std::string, question> under_way_;
    domain_counts domains_;
};

}  // namespace callforward::milter::verdicts
