// This process as one of several edges that share a store ([cache] store = "redis://...").
//
// Attaches a shared_store to each event loop, hears and tells notices on the first, and says how
// far memory may be believed. The changes that an operator makes go to the store and to the other
// edges, if need be when the store is back; an interlock that closes here is told to them every ten
// seconds until it opens, and one that closes there counts here until its edge says otherwise, or
// nothing for thirty seconds. Owner: the engine. Thread: any, but for attach() and what it gives.
#pragma once

#include "milter/fleet/change_queue.h"
#include "milter/fleet/change_writer.h"
#include "milter/fleet/connection_leases.h"
#include "milter/fleet/foreign_interlocks.h"
#include "milter/fleet/notices.h"
#include "milter/fleet/shared_store.h"
#include "milter/fleet/store_options.h"
#include "milter/fleet/unwritten_changes.h"
#include "milter/settings.h"
#include "milter/verdicts/cache.h"
#include "milter/verdicts/trust.h"

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::milter::fleet {

// Of [cache]; throws std::runtime_error when the TLS files cannot be used.
[[nodiscard]] store_options store_options_of(const cache_settings& s);

class edge {
public:
    // loops: how many will be attached.
    edge(store_options options,
         std::size_t connections_per_host,
         verdicts::cache& known,
         std::size_t loops);

    // What belongs to one event loop; its owner calls stop() before the loop goes.
    struct attachment {
        std::shared_ptr<shared_store> store;
        std::shared_ptr<connection_leases> connections;
        // On the first loop only.
        std::shared_ptr<notices> news;
        std::shared_ptr<change_writer> writer;
        void stop() const;
    };
    [[nodiscard]] attachment attach(const asio::any_io_executor& executor);
    // Before the process ends: gives what the store is still to be told that much time, and says
    // what is lost. The loops turn meanwhile.
    void finish(std::chrono::milliseconds at_most);
    // Before the first of the loops goes: tells nobody any more.
    void close();

    void tell(const std::vector<verdicts::change>& some);
    // A recipient that was deliverable and is refused.
    void tell_refused(const smtpclient::mailbox& recipient);
    void tell_interlock(std::string_view domain, bool closed);
    // Somebody else's refusals, and a domain that closes elsewhere and was closed nowhere else;
    // called on an event loop. Before the first attach().
    void on_refused(std::function<void(const smtpclient::mailbox&)> count) {
        count_ = std::move(count);
    }
    void on_closed(std::function<void(const std::string& domain)> note) {
        note_closed_ = std::move(note);
    }
    [[nodiscard]] bool is_closed_elsewhere(std::string_view domain) const {
        return foreign_.is_closed(domain, std::chrono::steady_clock::now());
    }

    [[nodiscard]] verdicts::cache& known() const { return known_; }
    [[nodiscard]] const std::atomic<std::uint64_t>& heard() const { return heard_; }
    // What the store is still to be told.
    [[nodiscard]] const unwritten_changes& unwritten() const { return unwritten_; }
    [[nodiscard]] store_health::state health() const { return health_.now(); }
    // "": the store is used; else what is the matter.
    [[nodiscard]] std::string complaint() const;
    [[nodiscard]] bool hears_notices() const { return trust_.is_heard(); }
    void use(const settings& s) {
        trust_.use(s.cache.store_trust);
        connections_per_host_ = s.limits.fleet_connections_per_host;
    }

private:
    void hear(const notice& n);
    void forget(verdicts::change elsewhere);
    void outdate_seed();
    void publish(notice::kind what, std::string_view name, unsigned seconds = 0);
    void repeat_interlocks_once();
    asio::awaitable<void> repeat_interlocks(asio::any_io_executor executor);

    const std::shared_ptr<const store_options> options_;  // shared with what is attached
    verdicts::cache& known_;
    std::unique_ptr<tls_files> tls_;
    store_health health_;
    verdicts::trust trust_;
    foreign_interlocks foreign_;
    const std::string name_;
    std::atomic<std::size_t> connections_per_host_;
    std::atomic<std::uint64_t> heard_ = 0;
    unwritten_changes unwritten_;
    std::function<void(const smtpclient::mailbox&)> count_;
    std::function<void(const std::string&)> note_closed_;
    std::mutex mutex_;
    std::set<std::string, std::less<>> closed_here_;
    struct loop {
        asio::any_io_executor executor;
        std::weak_ptr<shared_store> store;
    };
    std::vector<loop> loops_;
    std::weak_ptr<change_writer> writer_;
    change_queue changes_;  // last: its thread uses the cache
};

}  // namespace callforward::milter::fleet
