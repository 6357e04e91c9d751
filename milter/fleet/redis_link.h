// The standing connection of one event loop to the shared store: connects, identifies itself, comes
// back after a failure, and knows whether it is worth waiting for.
//
// A server that answers later than the timeout is slow, and not asked until it answers in time
// again, four times running; one that stays silent, ends the connection or talks nonsense is
// connected to anew, after pauses that double from 50 ms to 3 s, with chance in them. With
// sentinels the master is asked for each time. A master that turns read-only is left after 5 s, for
// an address may have moved. Every connection agrees with the others on the seed of keys and
// checksums, which is kept in the store itself; when it changes, older records are not found any
// more. Once it is said to be outdated a link is not usable until it has read it again. Owner:
// shared with its own coroutine, until stop(). One event loop thread.
#pragma once

#include "milter/fleet/redis_connection.h"
#include "milter/fleet/redis_scripts.h"
#include "milter/fleet/store_options.h"
#include "milter/verdicts/digest.h"

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/steady_timer.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::milter::fleet {

class redis_link : public std::enable_shared_from_this<redis_link> {
public:
    using reporter = std::function<void(trouble, const std::string& why)>;

    // tls: nothing for connections in clear; must outlive the link.
    redis_link(asio::any_io_executor executor,
               std::shared_ptr<const store_options> options,
               tls_files* tls,
               reporter report);

    void start();
    void stop();  // before the event loop goes
    [[nodiscard]] bool is_usable() const;
    [[nodiscard]] const verdicts::hash_seed& seed() const { return seed_; }
    // Nothing: not usable, or not answered in time.
    [[nodiscard]] asio::awaitable<std::optional<replies>> ask(std::string commands,
                                                              std::size_t count);
    // The same for what nobody waits for; every error in its replies is noticed.
    void tell(std::string commands, std::size_t count);
    void tell(std::string commands, std::size_t count, redis_connection::on_replies then);
    // The same for what has to arrive: also of a server that is slow. Nothing: not connected, or
    // not answered before the connection is given up.
    [[nodiscard]] asio::awaitable<std::optional<replies>> insist(std::string commands,
                                                                 std::size_t count);
    // An error that came as a reply to ask().
    void note(const resp_value& reply);
    // One more key of ours: "callforward:seed".
    [[nodiscard]] std::string key(std::string_view name) const {
        return options_->at.prefix + std::string(name);
    }
    [[nodiscard]] const store_options& options() const { return *options_; }
    [[nodiscard]] std::string run(script s,
                                  const std::vector<std::string_view>& keys,
                                  const std::vector<std::string_view>& arguments) const;
    // Another seed for all: nothing that is stored now is found any more. Gives the reply of SET.
    [[nodiscard]] asio::awaitable<std::optional<replies>> change_seed();
    void look_at_seed();
    void outdate_seed() { ++seed_wanted_; }  // any thread
    [[nodiscard]] bool knows_seed() const { return seed_read_ == seed_wanted_; }
    // Reads it first where it is outdated. False: not connected, or not answered.
    enum class importance { somebody_waits, has_to_arrive };  // as ask(), or as insist()
    [[nodiscard]] asio::awaitable<bool> has_seed(importance how);

private:
    asio::awaitable<void> live(std::shared_ptr<redis_link> self);
    [[nodiscard]] asio::awaitable<std::string> serve();
    asio::awaitable<std::string> connect();
    asio::awaitable<std::string> introduce();
    [[nodiscard]] std::string check_introduction(const replies& got);
    asio::awaitable<void> keep_alive();
    asio::awaitable<void> wait(std::chrono::milliseconds time);
    void beat(steady_time now);
    bool adopt_seed(const resp_value& stored);
    void take_seed(const replies& got, std::uint64_t wanted);
    [[nodiscard]] std::string seed_commands() const;
    void see_writes(const resp_value& reply);
    void too_late();
    void say(trouble t, const std::string& why);

    asio::any_io_executor executor_;
    std::shared_ptr<const store_options> options_;
    tls_files* tls_;
    reporter report_;
    std::shared_ptr<redis_connection> connection_;
    asio::steady_timer pause_;
    bool stopped_ = false;
    bool ready_ = false;
    unsigned in_time_ = 0;  // pings answered in time, while slow
    bool slow_ = false;
    trouble writes_ = trouble::none;  // none, full or read_only
    std::string writes_why_;
    steady_time read_only_since_;
    steady_time seed_looked_at_;
    trouble failure_ = trouble::unreachable;   // what kind the last one was
    unsigned failures_ = 0;                    // in a row
    trouble left_for_ = trouble::unreachable;  // why we left a connection that stood
    std::size_t sentinels_ = 0;
    verdicts::hash_seed seed_;
    std::atomic<std::uint64_t> seed_wanted_ = 0;  // how often it was outdated
    std::uint64_t seed_read_ = 0;                 // the same when it was last asked for
    std::array<std::string, scripts> hashes_;     // "" for one that is not loaded
    std::minstd_rand random_;
};

}  // namespace callforward::milter::fleet
