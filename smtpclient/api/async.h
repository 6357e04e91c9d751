/// @file
/// callforward::async_query() for programs on asio: any completion token, coroutines among them.
///
/// The call-forward itself runs on the session's thread inside the library, which shares no asio
/// object with the program: both may be built with different versions and options of asio. The
/// handler runs on its own executor. asio (standalone, 1.22 or newer) is needed by this header
/// only.
#pragma once

#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/error.hpp>
#include <asio/execution/executor.hpp>
#include <asio/execution/outstanding_work.hpp>
#include <asio/execution_context.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/is_executor.hpp>
#include <asio/post.hpp>
#include <asio/prefer.hpp>
#include <callforward/callforward.h>

#include <atomic>
#include <exception>
#include <memory>
#include <system_error>
#include <type_traits>
#include <utility>

namespace callforward {

/// @cond
namespace detail {

// While this exists the executor's context does not run out of work; and when it goes, that it had
// work is the last that it lets go of. An executor_work_guard keeps its executor for longer.
template <typename Executor>
auto keep_working(const Executor& executor) {
    if constexpr (asio::execution::is_executor<Executor>::value) {
        return asio::prefer(executor, asio::execution::outstanding_work.tracked);
    } else {
        return asio::make_work_guard(executor);
    }
}

// One call: whoever comes first, the result or a cancellation, takes what it has. The library's
// thread may be the last to hold it, when the program's context is gone: it has nothing then.
template <typename Handler, typename Executor>
class async_call : public std::enable_shared_from_this<async_call<Handler, Executor>> {
public:
    using handler_executor = asio::associated_executor_t<Handler, Executor>;

    async_call(Handler handler, const Executor& executor)
        : has_(std::make_unique<belongings>(std::move(handler), executor)) {}

    void listen_for_cancellation() {
        auto slot = asio::get_associated_cancellation_slot(has_->handler);
        if (!slot.is_connected()) return;
        std::weak_ptr<async_call> weak = this->shared_from_this();
        slot.assign([weak](asio::cancellation_type type) {
            const auto self = weak.lock();
            if (!self || type == asio::cancellation_type::none) return;
            self->finish(std::make_exception_ptr(std::system_error(
                             asio::error::make_error_code(asio::error::operation_aborted))),
                         {});
        });
    }

    void finish(std::exception_ptr thrown, query_result result) {
        if (finished_.exchange(true)) return;
        // The handler may have run, and the program's run() be about to return, before post() does:
        // it must not return, and the context go, while we are in there.
        const auto work = keep_working(has_->work.get_executor());
        const auto handler_work = keep_working(has_->handler_work.get_executor());
        post(std::move(has_), std::move(thrown), std::move(result));
    }

private:
    struct belongings {
        belongings(Handler&& h, const Executor& executor)
            : handler(std::move(h)),
              handler_work(asio::get_associated_executor(handler, executor)),
              work(executor) {}

        Handler handler;
        asio::executor_work_guard<handler_executor> handler_work;
        asio::executor_work_guard<Executor> work;
    };

    static void post(std::unique_ptr<belongings> mine,
                     std::exception_ptr thrown,
                     query_result result) {
        const auto executor = mine->handler_work.get_executor();
        asio::post(executor,
                   [mine = std::move(mine),
                    thrown = std::move(thrown),
                    result = std::move(result)]() mutable {
                       call(std::move(mine), std::move(thrown), std::move(result));
                   });
    }

    static void call(std::unique_ptr<belongings> mine,
                     std::exception_ptr thrown,
                     query_result result) {
        auto slot = asio::get_associated_cancellation_slot(mine->handler);
        if (slot.is_connected()) slot.clear();
        Handler handler = std::move(mine->handler);
        mine.reset();
        std::move(handler)(std::move(thrown), std::move(result));
    }

    std::unique_ptr<belongings> has_;
    std::atomic<bool> finished_{false};
};

template <typename Executor>
struct initiate_query {
    session* in;
    Executor executor;

    template <typename Handler>
    void operator()(Handler&& handler, const query_options& options) const {
        using call_type = async_call<std::decay_t<Handler>, Executor>;
        const auto call = std::make_shared<call_type>(std::forward<Handler>(handler), executor);
        call->listen_for_cancellation();
        try {
            session& by = in != nullptr ? *in : shared_session();
            by.start(options, [call](std::exception_ptr thrown, query_result result) {
                call->finish(std::move(thrown), std::move(result));
            });
        } catch (...) {
            call->finish(std::current_exception(), {});
        }
    }
};

template <typename T>
constexpr bool is_executor = asio::is_executor<T>::value || asio::execution::is_executor<T>::value;

}  // namespace detail
/// @endcond

/// Completes with (std::exception_ptr, query_result) on the handler's associated executor, or
/// else on `executor`.
///
/// The exception is null, or a std::invalid_argument that names what is wrong with the options, or
/// a std::system_error of asio::error::operation_aborted after a cancellation of any type; what
/// was under way then ends by itself, at the latest by options.timeout. The session must outlive
/// the call.
template <typename Executor,
          typename CompletionToken,
          std::enable_if_t<detail::is_executor<Executor>, int> = 0>
auto async_query(session& in,
                 const Executor& executor,
                 query_options options,
                 CompletionToken&& token) {
    return asio::async_initiate<CompletionToken, void(std::exception_ptr, query_result)>(
        detail::initiate_query<Executor>{&in, executor}, token, std::move(options));
}

/// The same on the shared session of the process.
template <typename Executor,
          typename CompletionToken,
          std::enable_if_t<detail::is_executor<Executor>, int> = 0>
auto async_query(const Executor& executor, query_options options, CompletionToken&& token) {
    return asio::async_initiate<CompletionToken, void(std::exception_ptr, query_result)>(
        detail::initiate_query<Executor>{nullptr, executor}, token, std::move(options));
}

/// The same for an execution context, such as asio::io_context.
template <
    typename ExecutionContext,
    typename CompletionToken,
    std::enable_if_t<std::is_convertible_v<ExecutionContext&, asio::execution_context&>, int> = 0>
auto async_query(ExecutionContext& context, query_options options, CompletionToken&& token) {
    return async_query(
        context.get_executor(), std::move(options), std::forward<CompletionToken>(token));
}

}  // namespace callforward
