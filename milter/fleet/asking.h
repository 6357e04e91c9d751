// One question on its way past what other edges know: looked up in the shared store, and asked of
// the next hop by one edge while the others wait for its answer.
//
// look() gives what is known by then, or nothing when the next hop is to be asked: because nobody
// knows and this edge has the lease, because the store can not be asked or has not got a change
// that concerns the recipient, or because the edge that had the lease came to no answer. Whoever
// waits does so until the question's deadline. After the next hop's answer learnt() writes what is
// worth it; without it, or when it says nothing that was found out just now, the lease is given
// back. Owner: the shard's coroutine; one event loop thread.
#pragma once

#include "milter/fleet/shared_store.h"
#include "milter/fleet/unwritten_changes.h"
#include "milter/verdicts/cache.h"
#include "smtpclient/question.h"

#include <asio/awaitable.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace callforward::milter::fleet {

enum class purpose : std::uint8_t {
    answer,   // somebody waits for it
    refresh,  // what is known is near its end
    anew,     // what is known does not matter
};

struct shared_question {
    verdicts::question_key key;  // of this process
    std::string fingerprint;
    purpose why = purpose::answer;
};

struct shared_answer {
    verdicts::shared_verdict verdict;  // nothing: ask the next hop
    bool waited = false;               // for another edge's answer
};

class asking {
public:
    // heard: counts what changed what is known. All must outlive it.
    asking(std::shared_ptr<shared_store> store,
           verdicts::cache& known,
           const std::atomic<std::uint64_t>& heard,
           const unwritten_changes& unwritten,
           smtpclient::question q,
           shared_question about);
    ~asking();
    asking(const asking&) = delete;
    asking& operator=(const asking&) = delete;

    [[nodiscard]] asio::awaitable<shared_answer> look();
    // became: what the cache made of it.
    void learnt(const verdicts::stored& became, const smtpclient::verdict& v);

private:
    [[nodiscard]] verdicts::shared_verdict take(const findings& found, std::uint64_t heard_before);
    [[nodiscard]] bool is_fresh(const findings& found) const;
    asio::awaitable<void> pause(unsigned times);

    std::shared_ptr<shared_store> store_;  // shared with its own coroutines
    verdicts::cache& known_;
    const std::atomic<std::uint64_t>& heard_;
    const unwritten_changes& unwritten_;
    const smtpclient::question question_;
    const shared_question about_;
    question_names names_;
    std::string marks_;
    std::string token_;  // of the lease; "": none
};

}  // namespace callforward::milter::fleet
