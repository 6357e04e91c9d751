#include "milter/shard.h"

#include "milter/log.h"
#include "milter/scheduling.h"
#include "smtpclient/call_forward.h"
#include "smtpclient/connect.h"
#include "smtpclient/fetch_sts_policy.h"
#include "smtpclient/mta_sts.h"
#include "smtpclient/printable.h"

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <condition_variable>
#include <exception>
#include <future>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <system_error>
#include <thread>

namespace callforward::milter {

namespace {

// Several shards, and those of a former configuration, may come to know of one host.
void advise_once(const std::string& host, const std::string& what_to_do) {
    constexpr std::size_t most_hosts = 10000;
    static std::mutex mutex;
    static std::set<std::string> told;
    {
        const std::lock_guard lock(mutex);
        if (told.size() >= most_hosts || !told.insert(host).second) return;
    }
    log::say(log_level::warning, "late rejecter", {{"host", host}, {"why", what_to_do}});
}

// What a question is asked with. Shared with the questions under way, which a reload must not pull
// it away from.
struct equipment {
    equipment(asio::io_context& loop,
              const dns::resolver_options& dns,
              smtpclient::reach reach,
              const smtpclient::session_limits& limits,
              std::shared_ptr<smtpclient::allowance> shared,
              std::shared_ptr<smtpclient::mta_sts> policies)
        : resolver(loop.get_executor(), dns),
          forward(loop.get_executor(), resolver, std::move(reach), limits, std::move(policies)) {
        forward.share(std::move(shared));
        forward.tell_of_late_rejecters(advise_once);
    }

    dns::ares_resolver resolver;
    smtpclient::call_forward forward;
};

// What a call-forward threw: nothing left to do it with, or a fault of ours.
smtpclient::verdict internal_failure(const std::exception_ptr& thrown) {
    smtpclient::verdict v;
    v.finding = {smtpclient::verdict_class::unreachable, smtpclient::reason::protocol_error};
    v.detail = "internal error";
    try {
        std::rethrow_exception(thrown);
    } catch (const std::bad_alloc&) {
        v.finding.reason = smtpclient::reason::overloaded;
        v.detail = "no memory";
    } catch (const std::system_error& e) {
        const bool lack = smtpclient::is_lack_of_means(e.code());
        if (lack) v.finding.reason = smtpclient::reason::overloaded;
        const std::string what = smtpclient::printable(e.what());
        v.detail = lack ? what : v.detail + ": " + what;
    } catch (const std::exception& e) {
        v.detail.append(": ").append(smtpclient::printable(e.what()));
    } catch (...) {
    }
    return v;
}

// `then` is called inside, while the lease is held that keeps other edges from asking.
asio::awaitable<void> ask_fleet(std::shared_ptr<equipment> with,
                                std::unique_ptr<fleet::asking> asked,
                                smtpclient::question q,
                                shard::on_answer then) {
    shard_answer a;
    try {
        a.asked = asked.get();
        a.shared = co_await asked->look();
        if (!a.shared.verdict) a.verdict = co_await with->forward.verify(std::move(q));
    } catch (const std::exception&) {
        a.shared = {};
        a.verdict = internal_failure(std::current_exception());
    }
    then(std::move(a));
}

}  // namespace

class shard::implementation {
public:
    implementation(const dns::resolver_options& dns,
                   smtpclient::reach reach,
                   const smtpclient::session_limits& limits,
                   fleet::edge* e)
        : edge_(e),
          attached_(e == nullptr ? fleet::edge::attachment{} : e->attach(loop_.get_executor())),
          policies_(std::make_shared<smtpclient::mta_sts>(loop_.get_executor(),
                                                          smtpclient::fetch_sts_policy)),
          equipment_(std::make_shared<equipment>(
              loop_, dns, std::move(reach), limits, attached_.connections, policies_)),
          thread_([this] { turn(); }) {}

    ~implementation() {
        loop_.stop();
        thread_.join();
        attached_.stop();
    }

    void ask(smtpclient::question q, std::optional<fleet::shared_question> about, on_answer then) {
        asio::post(
            loop_,
            [this, q = std::move(q), about = std::move(about), then = std::move(then)]() mutable {
                try {
                    if (about && attached_.store && attached_.store->is_usable()) {
                        auto asked = std::make_unique<fleet::asking>(attached_.store,
                                                                     edge_->known(),
                                                                     edge_->heard(),
                                                                     edge_->unwritten(),
                                                                     q,
                                                                     std::move(*about));
                        auto whole = ask_fleet(equipment_, std::move(asked), std::move(q), then);
                        asio::co_spawn(loop_, std::move(whole), asio::detached);
                        return;
                    }
                    auto call = equipment_->forward.verify(std::move(q));
                    asio::co_spawn(loop_,
                                   std::move(call),
                                   [then, with = equipment_](const std::exception_ptr& thrown,
                                                             smtpclient::verdict v) {
                                       if (thrown) v = internal_failure(thrown);
                                       then({std::move(v), {}, nullptr});
                                   });
                } catch (const std::exception&) {  // no memory; the question is not lost for that
                    then({internal_failure(std::current_exception()), {}, nullptr});
                }
            });
    }

    void use(dns::resolver_options dns,
             smtpclient::reach reach,
             const smtpclient::session_limits& limits) {
        asio::post(loop_, [this, dns = std::move(dns), reach = std::move(reach), limits]() mutable {
            try {
                equipment_ = std::make_shared<equipment>(
                    loop_, dns, std::move(reach), limits, attached_.connections, policies_);
            } catch (const std::exception& e) {
                log::say(log_level::error,
                         "the new [dns] settings cannot be used; the old ones stay",
                         {{"why", e.what()}});
            }
        });
    }

    std::optional<std::vector<smtpclient::host_state>> hosts(std::chrono::milliseconds at_most) {
        // Shared: who asked may have given up by the time the loop answers.
        auto told = std::make_shared<std::promise<std::vector<smtpclient::host_state>>>();
        auto answer = told->get_future();
        asio::post(loop_, [this, told] { told->set_value(equipment_->forward.hosts()); });
        if (answer.wait_for(at_most) != std::future_status::ready) return std::nullopt;
        return answer.get();
    }
    void forget(std::string domain) {
        asio::post(loop_,
                   [this, domain = std::move(domain)] { equipment_->forward.forget(domain); });
    }
    void run(std::function<void()> job) { asio::post(loop_, std::move(job)); }

private:
    void turn() {
        go_first();
        for (;;) {
            try {
                loop_.run();
                return;
            } catch (const std::exception& e) {
                log::say(log_level::error,
                         "internal error in an event loop; it goes on",
                         {{"what", e.what()}});
            }
        }
    }

    fleet::edge* const edge_;
    asio::io_context loop_{1};
    asio::executor_work_guard<asio::io_context::executor_type> keep_running_{loop_.get_executor()};
    fleet::edge::attachment attached_;
    // Not of the equipment: a reload must not let go what a domain demands until it says otherwise.
    std::shared_ptr<smtpclient::mta_sts> policies_;
    std::shared_ptr<equipment> equipment_;
    std::thread thread_;  // last: it uses all of the above
};

shard::shard(dns::resolver_options dns,
             smtpclient::reach reach,
             const smtpclient::session_limits& limits,
             fleet::edge* e)
    : implementation_(std::make_unique<implementation>(dns, std::move(reach), limits, e)) {}

shard::~shard() = default;

void shard::ask(smtpclient::question q,
                std::optional<fleet::shared_question> about,
                on_answer then) {
    implementation_->ask(std::move(q), std::move(about), std::move(then));
}

void shard::use(dns::resolver_options dns,
                smtpclient::reach reach,
                const smtpclient::session_limits& limits) {
    implementation_->use(std::move(dns), std::move(reach), limits);
}

std::optional<std::vector<smtpclient::host_state>> shard::hosts(std::chrono::milliseconds at_most) {
    return implementation_->hosts(at_most);
}

void shard::forget(std::string domain) {
    implementation_->forget(std::move(domain));
}

void shard::run(std::function<void()> job) {
    implementation_->run(std::move(job));
}

bool all_turn(const std::vector<std::unique_ptr<shard>>& shards,
              std::chrono::milliseconds at_most) {
    struct roll_call {
        std::mutex mutex;
        std::condition_variable complete;
        std::size_t missing = 0;
    };
    // Shared with loops that come to it after we have given up.
    const auto call = std::make_shared<roll_call>();
    call->missing = shards.size();
    for (const auto& each : shards) {
        each->run([call] {
            const std::lock_guard lock(call->mutex);
            if (--call->missing == 0) call->complete.notify_one();
        });
    }
    std::unique_lock lock(call->mutex);
    return call->complete.wait_for(lock, at_most, [&] { return call->missing == 0; });
}

}  // namespace callforward::milter
