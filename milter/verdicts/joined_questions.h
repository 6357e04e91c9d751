// Equal questions under way are asked once: who comes second waits for the first one's answer.
//
// The answer is kept alive by those who wait, not by the table, which forgets a question when it is
// answered. Waiting is bounded by each waiter's own patience; a question goes on without waiters,
// and its answer fills the cache. Thread: any.
#pragma once

#include "smtpclient/verdict.h"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

namespace callforward::milter::verdicts {

class pending_answer {
public:
    // The verdict, or nothing when it is not there by then. Shared with the cache and other
    // waiters, never changed.
    [[nodiscard]] std::shared_ptr<const smtpclient::verdict> wait_until(
        std::chrono::steady_clock::time_point limit);
    void give(std::shared_ptr<const smtpclient::verdict> v);

private:
    std::mutex mutex_;
    std::condition_variable answered_;
    std::shared_ptr<const smtpclient::verdict> verdict_;
};

class joined_questions {
public:
    // At most so many questions are under way at once; 0: no limit.
    explicit joined_questions(std::size_t limit) : limit_(limit) {}

    struct ticket {
        std::shared_ptr<pending_answer>
            answer;             // shared by all who wait; nothing when the limit is reached
        bool is_first = false;  // this caller has to see to it that the question is asked
    };
    [[nodiscard]] ticket join(const std::string& key);
    // The question is no longer under way; whoever holds a ticket gets the verdict.
    void answer(const std::string& key, const std::shared_ptr<const smtpclient::verdict>& v);
    [[nodiscard]] std::size_t size() const;

private:
    std::size_t limit_;
    mutable std::mutex mutex_;
    std::unordered_map<std::string, std::shared_ptr<pending_answer>> under_way_;
};

}  // namespace callforward::milter::verdicts
