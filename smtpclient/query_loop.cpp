#include "smtpclient/query_loop.h"

#include "dns/ares_resolver.h"
#include "smtpclient/call_forward.h"

#include <asio/co_spawn.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <signal.h>

#include <thread>

namespace callforward::smtpclient {

namespace {

dns::resolver_options resolver_options_of(const query_loop_options& options) {
    dns::resolver_options found;
    found.servers = options.dns_servers;
    found.timeout = options.dns_timeout;
    return found;
}

reach where_mail_exchangers_may_lead() {
    reach r = this_host();
    r.deny = default_deny();
    return r;
}

// Signals are for the threads that the program made itself.
std::thread without_signals(std::function<void()> run) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread made;
    std::exception_ptr failed;
    try {
        made = std::thread(std::move(run));
    } catch (...) {
        failed = std::current_exception();
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (failed) std::rethrow_exception(failed);
    return made;
}

}  // namespace

struct query_loop::implementation {
    explicit implementation(const query_loop_options& options)
        : resolver(loop.get_executor(), resolver_options_of(options)),
          named_hosts(loop.get_executor(), resolver, this_host(), options.limits),
          mail_exchangers(
              loop.get_executor(), resolver, where_mail_exchangers_may_lead(), options.limits),
          work(loop.get_executor()),
          thread(without_signals([this] { turn(); })) {}

    void turn() {
        for (;;) {
            try {
                loop.run();
                return;
            } catch (...) {  // of one call, which is over; the program and the others go on
            }
        }
    }

    asio::io_context loop{1};
    dns::ares_resolver resolver;
    call_forward named_hosts;  // whom the caller names may be contacted, wherever that is
    call_forward mail_exchangers;
    asio::executor_work_guard<asio::io_context::executor_type> work;
    std::thread thread;
};

query_loop::query_loop(const query_loop_options& options)
    : implementation_(std::make_unique<implementation>(options)) {}

query_loop::~query_loop() {
    stop();
}

void query_loop::stop() {
    if (!implementation_->thread.joinable()) return;
    implementation_->loop.stop();
    implementation_->thread.join();
}

void query_loop::start(prepared_query asked, completion done) {
    const auto begin = std::chrono::steady_clock::now();
    auto& here = *implementation_;
    // Shared: co_spawn() takes it along, also when it then finds no memory.
    const auto told = std::make_shared<const completion>(std::move(done));
    asio::post(here.loop, [&here, begin, asked = std::move(asked), told]() mutable {
        if (!asked.ask) return (*told)(nullptr, {std::move(asked.answer), {}});
        try {
            auto& by = asked.ask->to.recipient_mx ? here.mail_exchangers : here.named_hosts;
            auto call = by.verify(std::move(*asked.ask));
            asio::co_spawn(
                here.loop, std::move(call), [begin, told](std::exception_ptr thrown, verdict v) {
                    const auto took = std::chrono::steady_clock::now() - begin;
                    (*told)(std::move(thrown),
                            {std::move(v),
                             std::chrono::duration_cast<std::chrono::milliseconds>(took)});
                });
        } catch (...) {
            (*told)(std::current_exception(), {});
        }
    });
}

}  // namespace callforward::smtpclient
