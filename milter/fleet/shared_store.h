// What the edges of one site know together, of one event loop: the asynchronous counterpart of
// verdicts/store.h.
//
// Nothing here holds anybody up for longer than the timeout, and while the store is slow or away
// nothing waits at all: answers are "not known". Keys are digests under a seed that the store
// itself keeps. All keys of one recipient share a hash tag, so that a Redis Cluster keeps them
// together; values are records of verdicts/record.h with what was last forgotten of the address and
// of the domain before them. A record is good only while nothing has been forgotten since: so much
// for one marker each, that lives as long as the oldest record, and no list of keys. Ages are
// measured by the store's clock, as the life that is left: no edge's own clock matters. One event
// loop thread.
#pragma once

#include "milter/fleet/redis_link.h"
#include "milter/fleet/renewal.h"
#include "milter/fleet/shared_record.h"
#include "milter/verdicts/cache.h"
#include "milter/verdicts/key.h"
#include "milter/verdicts/record.h"
#include "smtpclient/mailbox.h"
#include "smtpclient/question.h"

#include <asio/awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace callforward::milter::fleet {

using std::chrono::milliseconds;

struct lease {
    findings found;
    bool got = false;
    bool no_answer = false;  // its last holder has had none: ask now, without one
    std::string token;
};

struct change_lives {
    milliseconds longest;   // how long the oldest record of a name can live
    milliseconds declared;  // 0: nothing is kept of an address that is declared
};

enum class writing : std::uint8_t {
    done,
    refused,     // by a store that is full or only reads
    unanswered,  // or not connected
};
[[nodiscard]] writing writing_of(const std::optional<replies>& got);

class shared_store : public std::enable_shared_from_this<shared_store> {
public:
    shared_store(asio::any_io_executor executor,
                 std::shared_ptr<const store_options> options,
                 tls_files* tls,
                 redis_link::reporter report);

    void start();
    void stop();
    [[nodiscard]] bool is_usable() const { return link_->is_usable(); }
    [[nodiscard]] redis_link& link() { return *link_; }

    [[nodiscard]] question_names names_of(const smtpclient::question& q,
                                          std::string_view fingerprint) const;
    // Nothing: the store can not be asked now.
    [[nodiscard]] asio::awaitable<std::optional<findings>> find(const question_names& names);
    // The right to ask the next hop, renewed until it is put() or given back; and what is known by
    // now, for another may just have found out.
    [[nodiscard]] asio::awaitable<std::optional<lease>> try_lease(const question_names& names);
    void give_back(const question_names& names, const std::string& token, bool answered);
    // marks: of the findings before the next hop was asked. keep: how much longer than its life.
    void put(const question_names& names,
             kept_as as,
             const std::string& marks,
             const std::string& token,
             verdicts::record r,
             milliseconds keep);
    void erase(const std::string& name);

    // In this order; one that forgets everything comes alone. To be tried again unless done: once
    // more does no harm.
    [[nodiscard]] asio::awaitable<writing> write(std::vector<verdicts::change> changes,
                                                 change_lives lives);

private:
    struct held {
        std::string key;
        steady_time renewed;
    };
    struct marking;
    [[nodiscard]] marking mark(const std::vector<verdicts::change>& changes,
                               const change_lives& lives) const;
    [[nodiscard]] bool are_current(const question_names& names) const;
    [[nodiscard]] std::string look_commands(const question_names& names) const;
    void renew_due(steady_time now);
    [[nodiscard]] std::string fresh_token();
    [[nodiscard]] std::string address_tag(const verdicts::digest& declared) const;

    std::shared_ptr<const store_options> options_;
    std::shared_ptr<redis_link> link_;
    std::unordered_map<std::string, held> held_;  // leases by token
    renewal renewal_;
};

}  // namespace callforward::milter::fleet
