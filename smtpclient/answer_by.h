// A look-up that is waited for until a deadline: the resolver has a patience of its own, which may
// be longer than that of the one who asks. What comes later fills the resolver's cache, and is
// `unavailable` here. One event loop thread, the resolver's.
#pragma once

#include "dns/answer.h"
#include "smtpclient/connection.h"

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <memory>
#include <optional>
#include <system_error>
#include <utility>

namespace callforward::smtpclient {

// Shared by the one who waits for it and the one who asks.
template <class Record>
struct pending_look_up {
    explicit pending_look_up(const asio::any_io_executor& executor) : answered(executor) {}

    asio::steady_timer answered;  // cancelled when it is
    std::optional<dns::answer<Record>> what;
};

template <class Record>
asio::awaitable<void> keep_answer(std::shared_ptr<pending_look_up<Record>> l,
                                  asio::awaitable<dns::answer<Record>> question) {
    l->what = co_await std::move(question);
    l->answered.cancel();
}

// Several that are begun together cost no more time than the slowest of them.
template <class Record>
std::shared_ptr<pending_look_up<Record>> begin_look_up(
    const asio::any_io_executor& executor,
    steady_time deadline,
    asio::awaitable<dns::answer<Record>> question) {
    auto l = std::make_shared<pending_look_up<Record>>(executor);
    l->answered.expires_at(deadline);
    auto asking = keep_answer<Record>(l, std::move(question));
    asio::co_spawn(executor, std::move(asking), asio::detached);
    return l;
}

// Once for each look-up.
template <class Record>
asio::awaitable<dns::answer<Record>> answer_to(std::shared_ptr<pending_look_up<Record>> l) {
    if (!l->what) {
        std::error_code ignored;
        auto token = asio::redirect_error(asio::use_awaitable, ignored);
        co_await l->answered.async_wait(token);
    }
    if (l->what) co_return std::move(*l->what);
    dns::answer<Record> late;
    late.why = "no answer in time";
    co_return late;
}

template <class Record>
asio::awaitable<dns::answer<Record>> answer_by(steady_time deadline,
                                               asio::awaitable<dns::answer<Record>> question) {
    const auto executor = co_await asio::this_coro::executor;
    auto l = begin_look_up<Record>(executor, deadline, std::move(question));
    co_return co_await answer_to<Record>(std::move(l));
}

}  // namespace callforward::smtpclient
