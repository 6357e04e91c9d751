#include "milter/shard.h"

#include "milter/log.h"

#include <asio/co_spawn.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <exception>
#include <thread>

namespace callforward::milter {

namespace {

// What a question is asked with. Shared with the questions under way, which a reload must not pull
// it away from.
struct equipment {
    equipment(asio::io_context& loop, const dns::resolver_options& dns, smtpclient::reach reach)
        : resolver(loop.get_executor(), dns),
          forward(loop.get_executor(), resolver, std::move(reach)) {}

    dns::ares_resolver resolver;
    smtpclient::call_forward forward;
};

smtpclient::verdict internal_failure() {
    smtpclient::verdict v;
    v.finding = {smtpclient::verdict_class::unreachable, smtpclient::reason::protocol_error};
    v.detail = "internal error";
    return v;
}

asio::awaitable<smtpclient::verdict> ask_with(std::shared_ptr<equipment> with,
                                              smtpclient::question q) {
    co_return co_await with->forward.verify(std::move(q));
}

}  // namespace

class shard::implementation {
public:
    implementation(const dns::resolver_options& dns, smtpclient::reach reach)
        : equipment_(std::make_shared<equipment>(loop_, dns, std::move(reach))),
          thread_([this] { run(); }) {}

    ~implementation() {
        loop_.stop();
        thread_.join();
    }

    void ask(smtpclient::question q, on_answer then) {
        asio::post(loop_, [this, q = std::move(q), then = std::move(then)]() mutable {
            try {
                auto call = ask_with(equipment_, std::move(q));
                asio::co_spawn(loop_,
                               std::move(call),
                               [then](const std::exception_ptr& thrown, smtpclient::verdict v) {
                                   if (thrown) v = internal_failure();
                                   then(std::move(v));
                               });
            } catch (const std::exception&) {  // no memory; the question is not lost for that
                then(internal_failure());
            }
        });
    }

    void use(dns::resolver_options dns, smtpclient::reach reach) {
        asio::post(loop_, [this, dns = std::move(dns), reach = std::move(reach)]() mutable {
            try {
                equipment_ = std::make_shared<equipment>(loop_, dns, std::move(reach));
            } catch (const std::exception& e) {
                log::say(log_level::error,
                         "the new [dns] settings cannot be used; the old ones stay",
                         {{"why", e.what()}});
            }
        });
    }

private:
    void run() {
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

    asio::io_context loop_{1};
    asio::executor_work_guard<asio::io_context::executor_type> keep_running_{loop_.get_executor()};
    std::shared_ptr<equipment> equipment_;
    std::thread thread_;  // last: it uses all of the above
};

shard::shard(dns::resolver_options dns, smtpclient::reach reach)
    : implementation_(std::make_unique<implementation>(dns, std::move(reach))) {}

shard::~shard() = default;

void shard::ask(smtpclient::question q, on_answer then) {
    implementation_->ask(std::move(q), std::move(then));
}

void shard::use(dns::resolver_options dns, smtpclient::reach reach) {
    implementation_->use(std::move(dns), std::move(reach));
}

}  // namespace callforward::milter
