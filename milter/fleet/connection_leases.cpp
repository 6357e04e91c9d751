#include "milter/fleet/connection_leases.h"

#include <utility>

namespace callforward::milter::fleet {

using namespace std::chrono_literals;

namespace {

constexpr std::chrono::milliseconds lease_life{15000};
constexpr auto between_renewals = 4s;

}  // namespace

connection_leases::connection_leases(asio::any_io_executor executor,
                                     std::shared_ptr<redis_link> link,
                                     std::string edge,
                                     const std::atomic<std::size_t>& limit)
    : link_(std::move(link)),
      edge_(std::move(edge)),
      limit_(limit),
      renewal_(std::move(executor),
               between_renewals,
               {[this] { return !held_.empty(); }, [this] { renew(); }}) {}

void connection_leases::stop() {
    stopped_ = true;
    renewal_.stop();
}

std::string connection_leases::command(const std::string& member, const std::string& key) const {
    const std::string limit = std::to_string(limit_.load());
    const std::string life = std::to_string(lease_life.count());
    return link_->run(script::take_connection, {key}, {member, limit, life});
}

asio::awaitable<std::shared_ptr<void>> connection_leases::take(std::string host) {
    auto free_leave = std::make_shared<char>();
    if (limit_ == 0 || !link_->is_usable() || stopped_) co_return free_leave;
    // Not under the seed: who watches the store may see which host has how many.
    const std::string key = link_->key("1:{h" + host + "}c");
    const std::string member = edge_ + ':' + std::to_string(++taken_);
    std::string commands = command(member, key);
    const auto got = co_await link_->ask(std::move(commands), 1);
    if (!got || got->front().is_error()) co_return free_leave;
    if (got->front().number != 1) co_return nullptr;
    held_[member] = key;
    renewal_.keep_on(shared_from_this());
    // Whoever holds it may be gone later than we are.
    const std::weak_ptr<connection_leases> mine = weak_from_this();
    std::shared_ptr<void> leave(free_leave.get(), [mine, member, free_leave](void*) {
        if (const auto leases = mine.lock()) leases->give_back(member);
    });
    co_return leave;
}

void connection_leases::give_back(const std::string& member) {
    const auto at = held_.find(member);
    if (at == held_.end()) return;
    if (!stopped_) link_->tell(resp_command({"ZREM", at->second, member}), 1);
    held_.erase(at);
}

void connection_leases::renew() {
    std::string commands;
    for (const auto& [member, key] : held_) commands += command(member, key);
    if (!held_.empty()) link_->tell(std::move(commands), held_.size());
}

}  // namespace callforward::milter::fleet
