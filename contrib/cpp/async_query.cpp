// async_query HOST PORT RECIPIENT...: all recipients side by side, in a coroutine for each.
//
// One line a recipient, in the order of the answers. The session keeps connections, and shares
// them between the recipients. SIGINT gives up what is still under way.
#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <asio/use_awaitable.hpp>
#include <callforward/async.h>

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <list>
#include <string>

namespace {

asio::awaitable<void> verify(callforward::session& session, callforward::query_options options) {
    const auto executor = co_await asio::this_coro::executor;
    const auto result =
        co_await callforward::async_query(session, executor, options, asio::use_awaitable);
    std::cout << result.rcptto << ": " << callforward::to_string(result.outcome) << "; "
              << callforward::describe(result) << '\n';
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        std::cerr << "usage: async_query HOST PORT RECIPIENT...\n";
        return 64;
    }
    callforward::session session;
    asio::io_context loop;
    std::list<asio::cancellation_signal> cancellations;
    int under_way = 0;
    int status = 0;
    asio::signal_set interrupt(loop, SIGINT);
    for (int i = 3; i < argc; ++i) {
        callforward::query_options options;
        options.host = argv[1];
        options.port = static_cast<std::uint16_t>(std::atoi(argv[2]));
        options.rcptto = argv[i];
        ++under_way;
        auto call = verify(session, options);
        asio::co_spawn(loop,
                       std::move(call),
                       asio::bind_cancellation_slot(
                           cancellations.emplace_back().slot(),
                           [&, address = options.rcptto](const std::exception_ptr& thrown) {
                               if (--under_way == 0) interrupt.cancel();
                               if (!thrown) return;
                               status = 1;
                               try {
                                   std::rethrow_exception(thrown);
                               } catch (const std::exception& e) {
                                   std::cerr << address << ": " << e.what() << '\n';
                               }
                           }));
    }
    interrupt.async_wait([&](const std::error_code& error, int) {
        if (error) return;
        for (auto& each : cancellations) each.emit(asio::cancellation_type::terminal);
    });
    loop.run();
    return status;
}
