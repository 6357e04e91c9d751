#include "smtpclient/mta_sts.h"

#include "smtpclient/answer_by.h"
#include "smtpclient/printable.h"

#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

namespace callforward::smtpclient {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t most_fetches = 8;
constexpr std::size_t most_policies = 10000;
constexpr std::chrono::minutes pause_after_failure{5};  // RFC 8461 section 3.3
constexpr std::chrono::milliseconds pause_without_memory{100};

void tell(const trace& observer, const std::string& what) {
    if (observer) observer('*', "MTA-STS " + what);
}

}  // namespace

// Waited for by all who ask for the domain meanwhile.
struct mta_sts::fetch_under_way {
    // Each with a deadline of its own; cancelled when the fetch has ended.
    std::vector<std::shared_ptr<asio::steady_timer>> waiting;
    bool is_over = false;
    std::string error;
};

// What the threads may touch.
struct mta_sts::threads {
    std::mutex mutex;
    mta_sts* owner = nullptr;  // null when it is gone
    std::size_t running = 0;
};

mta_sts::mta_sts(asio::any_io_executor executor, sts_fetcher fetch)
    : executor_(std::move(executor)),
      fetch_(std::move(fetch)),
      threads_(std::make_shared<threads>()) {
    threads_->owner = this;
}

mta_sts::~mta_sts() {
    const std::lock_guard hold(threads_->mutex);
    threads_->owner = nullptr;
}

const mta_sts::kept* mta_sts::find(const std::string& name) {
    const auto at = policies_.find(name);
    if (at == policies_.end()) return nullptr;
    if (at->second.until > clock::now()) return &at->second;
    policies_.erase(at);
    return nullptr;
}

asio::awaitable<std::string> mta_sts::announced_id(dns::domain name,
                                                   const way& by,
                                                   steady_time deadline) {
    const auto owner = dns::domain::parse("_mta-sts." + name.name());
    if (!owner) co_return std::string{};
    auto look_up = by.resolver.texts(*owner);
    const auto records = co_await answer_by(deadline, std::move(look_up));
    co_return sts_id(records.records).value_or(std::string{});
}

asio::awaitable<std::vector<dns::ip_address>> mta_sts::web_host(dns::domain name,
                                                                const way& by,
                                                                steady_time deadline) {
    std::vector<dns::ip_address> usable;
    const auto host = dns::domain::parse("mta-sts." + name.name());
    if (!host) co_return usable;
    auto look_up = by.resolver.addresses(*host);
    auto found = co_await answer_by(deadline, std::move(look_up));
    usable = std::move(found.records);
    std::erase_if(usable, [&](const auto& address) {
        return address.is_unspecified() || dns::contains(by.deny, address);
    });
    if (usable.empty())
        tell(by.observer, "policy of " + name.name() + ": its web host has no address to use");
    co_return usable;
}

asio::awaitable<std::optional<sts_policy>> mta_sts::policy_of(dns::domain name,
                                                              const way& by,
                                                              steady_time deadline) {
    const std::string key = name.name();
    const std::string id = co_await announced_id(name, by, deadline);
    const kept* known = find(key);
    // Without a record a policy that was fetched still holds (section 3.1); and without a new id
    // it is up to date.
    if (known != nullptr && (id.empty() || id == known->id)) co_return known->policy;
    if (id.empty()) co_return std::nullopt;
    const auto failed = failed_until_.find(key);
    const bool rests = failed != failed_until_.end() && clock::now() < failed->second;
    if (!rests) {
        const auto from = co_await web_host(name, by, deadline);
        const auto under_way = from.empty() ? nullptr : fetch(key, id, from);
        if (under_way && !under_way->is_over) {
            // Shared: the fetch may end when who waits has gone, and the other way round.
            const auto patience = std::make_shared<asio::steady_timer>(executor_, deadline);
            under_way->waiting.push_back(patience);
            std::error_code ignored;
            auto token = asio::redirect_error(asio::use_awaitable, ignored);
            co_await patience->async_wait(token);
        }
        if (under_way && !under_way->error.empty())
            tell(by.observer, "policy of " + key + ": " + under_way->error);
    }
    known = find(key);
    if (known == nullptr) co_return std::nullopt;
    co_return known->policy;
}

std::shared_ptr<mta_sts::fetch_under_way> mta_sts::fetch(const std::string& name,
                                                         const std::string& id,
                                                         const std::vector<dns::ip_address>& from) {
    if (const auto at = under_way_.find(name); at != under_way_.end()) return at->second;
    const auto under_way = std::make_shared<fetch_under_way>();
    const auto work = [fetch = fetch_, shared = threads_, name, id, from] {
        sts_document got;
        try {
            got = fetch(name, from);
        } catch (const std::exception& e) {
            got.error = e.what();
        }
        // Who is not told of the end waits in vain, as do all who want this policy later.
        while (!hand_over(shared, name, id, got)) std::this_thread::sleep_for(pause_without_memory);
    };
    const auto entry = under_way_.emplace(name, under_way).first;
    try {
        const std::lock_guard hold(threads_->mutex);
        if (threads_->running < most_fetches) {
            std::thread(work).detach();
            ++threads_->running;
            return under_way;
        }
    } catch (const std::exception&) {  // no more threads, or no memory: as if the fetch had failed
    }
    under_way_.erase(entry);
    return nullptr;
}

bool mta_sts::hand_over(const std::shared_ptr<threads>& shared,
                        const std::string& name,
                        const std::string& id,
                        const sts_document& got) {
    try {
        const std::lock_guard hold(shared->mutex);
        if (shared->owner != nullptr) {
            asio::post(shared->owner->executor_, [shared, name, id, got] {
                mta_sts* owner = nullptr;
                {
                    const std::lock_guard hold_again(shared->mutex);
                    owner = shared->owner;
                }
                if (owner != nullptr) owner->finish(name, id, got);
            });
        }
        --shared->running;
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    }
}

void mta_sts::make_room() {
    if (policies_.size() < most_policies && failed_until_.size() < most_policies) return;
    const auto now = clock::now();
    std::erase_if(policies_, [&](const auto& entry) { return entry.second.until <= now; });
    std::erase_if(failed_until_, [&](const auto& entry) { return entry.second <= now; });
    if (policies_.size() >= most_policies) policies_.erase(policies_.begin());
    if (failed_until_.size() >= most_policies) failed_until_.erase(failed_until_.begin());
}

// Why there is no policy; "": there is one.
std::string mta_sts::learn(const std::string& name,
                           const std::string& id,
                           const sts_document& got) {
    std::string why = got.error;
    auto policy = why.empty() ? parse_sts_policy(got.text, why) : std::nullopt;
    make_room();
    if (policy) {
        // max_age 0 is for now: who has fetched it still goes by it, and others need not fetch it.
        const auto until =
            clock::now() + std::max<std::chrono::seconds>(policy->max_age, pause_after_failure);
        policies_.insert_or_assign(name, kept{std::move(*policy), id, until});
        failed_until_.erase(name);
    } else {
        failed_until_.insert_or_assign(name, clock::now() + pause_after_failure);
    }
    return why;
}

void mta_sts::finish(const std::string& name, const std::string& id, const sts_document& got) {
    std::string why;
    try {
        why = learn(name, id, got);
    } catch (const std::bad_alloc&) {
        why = "no memory";
    }
    const auto at = under_way_.find(name);
    if (at == under_way_.end()) return;
    at->second->error = std::move(why);
    at->second->is_over = true;
    for (const auto& timer : at->second->waiting) timer->cancel();
    under_way_.erase(at);
}

}  // namespace callforward::smtpclient
