#include "milter/fleet/redis_link.h"

#include "milter/fleet/endless.h"
#include "milter/fleet/redis_opening.h"

#include <asio/co_spawn.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <exception>
#include <new>
#include <utility>

namespace callforward::milter::fleet {

using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using verdicts::hash_seed;
using namespace std::chrono_literals;

namespace {

constexpr unsigned good_pings = 4;
constexpr auto between_pings = 100ms;  // while it is slow
constexpr auto between_seeds = 5s;
constexpr auto read_only_at_most = 5s;
constexpr auto proven_after = 5s;  // a connection that lasts so long ends the doubling of pauses
constexpr std::string_view seed_format = "1:";

std::string text_of(const hash_seed& seed) {
    std::array<char, 33> digits{};
    std::snprintf(digits.data(),
                  digits.size(),
                  "%016llx%016llx",
                  static_cast<unsigned long long>(seed.first),
                  static_cast<unsigned long long>(seed.second));
    return std::string(seed_format) + digits.data();
}

std::optional<hash_seed> seed_of(std::string_view text) {
    if (!text.starts_with(seed_format) || text.size() != seed_format.size() + 32) {
        return std::nullopt;
    }
    text.remove_prefix(seed_format.size());
    hash_seed seed;
    for (auto* const half : {&seed.first, &seed.second}) {
        const auto [end, error] = std::from_chars(text.data(), text.data() + 16, *half, 16);
        if (error != std::errc{} || end != text.data() + 16) return std::nullopt;
        text.remove_prefix(16);
    }
    return seed;
}

}  // namespace

redis_link::redis_link(asio::any_io_executor executor,
                       std::shared_ptr<const store_options> options,
                       tls_files* tls,
                       reporter report)
    : executor_(std::move(executor)),
      options_(std::move(options)),
      tls_(tls),
      report_(std::move(report)),
      pause_(executor_),
      seed_(hash_seed::draw()),
      random_(std::random_device{}()) {}

void redis_link::start() {
    auto life = live(shared_from_this());
    asio::co_spawn(executor_, std::move(life), endless{});
}

void redis_link::stop() {
    stopped_ = true;
    ready_ = false;
    if (connection_) connection_->close("stopped");
    pause_.cancel();
}

bool redis_link::is_usable() const {
    if (!ready_ || slow_) return false;
    const auto since = connection_->unanswered_since();
    return !since || clock::now() - *since < options_->timeout;
}

void redis_link::say(trouble t, const std::string& why) {
    if (!stopped_) report_(t, why);
}

asio::awaitable<void> redis_link::live([[maybe_unused]] std::shared_ptr<redis_link> self) {
    while (!stopped_) {
        std::string why;
        try {
            why = co_await serve();
        } catch (const std::bad_alloc&) {
            why = "no memory";
        } catch (const std::exception& e) {  // for example no thread to resolve a name on
            why = e.what();
        }
        ready_ = false;
        if (connection_) connection_->close(why);
        try {
            say(failure_, why);
        } catch (const std::bad_alloc&) {
            // The next failure is said, or that there is none.
        }
        if (stopped_) break;
        const auto time = pause_after(failures_, *options_, random_);
        ++failures_;
        co_await wait(time);
    }
}

// Until the connection ends; why.
asio::awaitable<std::string> redis_link::serve() {
    const auto begun = clock::now();
    failure_ = trouble::unreachable;
    std::string why = co_await connect();
    if (!why.empty()) co_return why;
    co_await keep_alive();
    failure_ = connection_->was_foreign() ? trouble::foreign : left_for_;
    if (clock::now() - begun >= proven_after) failures_ = 0;
    co_return connection_->why();
}

asio::awaitable<void> redis_link::wait(milliseconds time) {
    pause_.expires_after(time);
    std::error_code ignored;
    auto token = asio::redirect_error(asio::use_awaitable, ignored);
    co_await pause_.async_wait(token);
}

asio::awaitable<std::string> redis_link::connect() {
    left_for_ = trouble::unreachable;
    const auto opened = co_await open_redis(executor_, options_, tls_, sentinels_, connection_);
    failure_ = opened.what;
    if (!opened.why.empty()) co_return opened.why;
    if (stopped_) co_return std::string("stopped");
    const std::string why = co_await introduce();
    co_return why.empty() ? why : opened.where + ": " + why;
}

std::string redis_link::seed_commands() const {
    const std::string name = key("seed");
    return resp_command({"SET", name, text_of(seed_), "NX"}) + resp_command({"GET", name});
}

// What we need; all in one flight.
asio::awaitable<std::string> redis_link::introduce() {
    const store_options& o = *options_;
    std::string commands;
    for (std::size_t i = 0; i < scripts; ++i) {
        commands += resp_command({"SCRIPT", "LOAD", source_of(static_cast<script>(i))});
    }
    commands += seed_commands();
    seed_read_ = seed_wanted_;  // if this fails nothing is ready
    const auto deadline = clock::now() + o.connect_within;
    const auto got = co_await connection_->request(std::move(commands), scripts + 2, deadline);
    if (!got) {
        failure_ = connection_->was_foreign() ? trouble::foreign : trouble::unreachable;
        co_return connection_->is_open() ? "no answer in time" : connection_->why();
    }
    co_return check_introduction(*got);
}

std::string redis_link::check_introduction(const replies& got) {
    for (std::size_t i = 0; i < scripts; ++i) {
        if (got[i].is_error()) {
            failure_ = trouble_of(got[i]);
            return shown_error(got[i]);
        }
        hashes_[i] = got[i].text;
    }
    const resp_value& set = got[scripts];
    const resp_value& stored = got.back();
    for (const resp_value* reply : {&stored, &set}) {
        const trouble t = reply->is_error() ? trouble_of(*reply) : trouble::none;
        if (t == trouble::none || t == trouble::read_only || t == trouble::full) continue;
        failure_ = t;
        return shown_error(*reply);
    }
    if (!adopt_seed(stored)) {
        failure_ = set.is_error() ? trouble_of(set) : trouble::foreign;
        return set.is_error() ? shown_error(set) : "the key " + key("seed") + " is another's";
    }
    ready_ = true;
    slow_ = false;
    seed_looked_at_ = clock::now();
    writes_ = trouble::none;
    if (set.is_error()) {
        see_writes(set);
    } else {
        say(trouble::none, {});
    }
    return {};
}

bool redis_link::adopt_seed(const resp_value& stored) {
    const auto seed = stored.is_text() ? seed_of(stored.text) : std::nullopt;
    if (seed) seed_ = *seed;
    return seed.has_value();
}

asio::awaitable<void> redis_link::keep_alive() {
    connection_->on_end = [this] {
        ready_ = false;
        pause_.cancel();
    };
    while (connection_->is_open()) {
        const milliseconds time = slow_ ? between_pings : options_->between_beats;
        co_await wait(time);
        if (connection_->is_open()) beat(clock::now());
    }
}

void redis_link::beat(steady_time now) {
    if (const auto since = connection_->unanswered_since()) {
        if (now - *since >= options_->stalled_after) connection_->close("no answer for too long");
        return;
    }
    if (slow_) {
        const auto then = [self = shared_from_this()](std::optional<replies> got) {
            if (!got) {
                self->too_late();
            } else if (++self->in_time_ >= good_pings && self->slow_) {
                self->slow_ = false;
                self->say(self->writes_, self->writes_why_);
            }
        };
        connection_->submit(resp_command({"PING"}), 1, now + options_->timeout, then);
        return;
    }
    const bool left = writes_ == trouble::read_only && now - read_only_since_ >= read_only_at_most;
    if (left) {
        connection_->close("it only reads");
    } else if (now - seed_looked_at_ >= between_seeds || writes_ != trouble::none ||
               !knows_seed()) {
        look_at_seed();
    }
}

void redis_link::look_at_seed() {
    if (!ready_) return;
    seed_looked_at_ = clock::now();
    const std::uint64_t wanted = seed_wanted_;
    tell(seed_commands(), 2, [self = shared_from_this(), wanted](std::optional<replies> got) {
        if (got) self->take_seed(*got, wanted);
    });
}

asio::awaitable<bool> redis_link::has_seed(importance how) {
    if (knows_seed()) co_return true;
    const std::uint64_t wanted = seed_wanted_;
    std::string commands = seed_commands();
    auto reading = how == importance::has_to_arrive ? insist(std::move(commands), 2)
                                                    : ask(std::move(commands), 2);
    const auto got = co_await std::move(reading);
    if (got) take_seed(*got, wanted);
    co_return knows_seed();
}

// The answer to seed_commands(), asked for when it was outdated `wanted` times.
void redis_link::take_seed(const replies& got, std::uint64_t wanted) {
    adopt_seed(got.back());
    if (!got.back().is_error()) seed_read_ = std::max(seed_read_, wanted);
    see_writes(got.front());
}

asio::awaitable<std::optional<replies>> redis_link::change_seed() {
    const std::string name = key("seed");
    const std::string fresh = text_of(hash_seed::draw());
    std::string commands = resp_command({"SET", name, fresh}) + resp_command({"GET", name});
    auto got = co_await insist(std::move(commands), 2);
    if (got) {
        adopt_seed(got->back());
        got->pop_back();
    }
    co_return got;
}

// What became of something that had to be written.
void redis_link::see_writes(const resp_value& reply) {
    const trouble t = reply.is_error() ? trouble_of(reply) : trouble::none;
    if (t != trouble::none && t != trouble::read_only && t != trouble::full) return;
    if (t == writes_) return;
    if (t == trouble::read_only) read_only_since_ = clock::now();
    writes_ = t;
    writes_why_ = reply.is_error() ? shown_error(reply) : std::string();
    if (!slow_) say(writes_, writes_why_);
    // Another is master by now: the sentinels know.
    if (t == trouble::read_only && !options_->at.master.empty()) {
        connection_->close("it is no master any more");
    }
}

void redis_link::note(const resp_value& reply) {
    if (!reply.is_error()) return;
    const trouble t = trouble_of(reply);
    if (reply.error_code() == "NOSCRIPT") {
        hashes_.fill({});  // sent whole from now on
    } else if (t == trouble::read_only || t == trouble::full) {
        see_writes(reply);
    } else if (t == trouble::foreign) {
        // A key of ours that is somebody else's: a miss, and no reason to leave.
    } else if (ready_) {
        left_for_ = t;
        connection_->close(shown_error(reply));
    }
}

void redis_link::too_late() {
    in_time_ = 0;
    if (!ready_ || slow_ || !connection_->is_open()) return;
    slow_ = true;
    say(trouble::slow, "no answer within " + std::to_string(options_->timeout.count()) + " ms");
    pause_.cancel();
}

asio::awaitable<std::optional<replies>> redis_link::ask(std::string commands, std::size_t count) {
    if (!is_usable()) co_return std::nullopt;
    const auto deadline = clock::now() + options_->timeout;
    auto got = co_await connection_->request(std::move(commands), count, deadline);
    if (!got) too_late();
    if (got) {
        for (const resp_value& reply : *got) note(reply);
    }
    co_return got;
}

asio::awaitable<std::optional<replies>> redis_link::insist(std::string commands,
                                                           std::size_t count) {
    if (!ready_) co_return std::nullopt;
    const auto deadline = clock::now() + options_->stalled_after;
    auto got = co_await connection_->request(std::move(commands), count, deadline);
    if (got) {
        for (const resp_value& reply : *got) note(reply);
    }
    co_return got;
}

void redis_link::tell(std::string commands, std::size_t count) {
    tell(std::move(commands), count, [](const std::optional<replies>&) {});
}

void redis_link::tell(std::string commands, std::size_t count, redis_connection::on_replies then) {
    if (!ready_) {
        then(std::nullopt);
        return;
    }
    connection_->submit(
        std::move(commands),
        count,
        clock::now() + options_->timeout,
        [self = shared_from_this(), then = std::move(then)](std::optional<replies> got) {
            if (!got) self->too_late();
            if (got) {
                for (const resp_value& reply : *got) self->note(reply);
            }
            then(std::move(got));
        });
}

std::string redis_link::run(script s,
                            const std::vector<std::string_view>& keys,
                            const std::vector<std::string_view>& arguments) const {
    const std::string& hash = hashes_[static_cast<std::size_t>(s)];
    const std::string count = std::to_string(keys.size());
    std::vector<std::string_view> words{hash.empty() ? "EVAL" : "EVALSHA",
                                        hash.empty() ? source_of(s) : std::string_view(hash),
                                        count};
    words.insert(words.end(), keys.begin(), keys.end());
    words.insert(words.end(), arguments.begin(), arguments.end());
    return resp_command(words);
}

}  // namespace callforward::milter::fleet
