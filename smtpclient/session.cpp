#include "smtpclient/session.h"

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/this_coro.hpp>

namespace callforward::smtpclient {

namespace {

conclusion failed_at(stage at, const io_failure& failure) {
    return {{usual_class(failure.reason), failure.reason}, at, std::nullopt, failure.why};
}

const io_failure unsolicited{reason::protocol_error, "more replies than commands"};

asio::awaitable<void> say_goodbye(std::unique_ptr<connection> c) {
    co_await c->quit();
}

}  // namespace

session::session(std::unique_ptr<connection> c, std::chrono::milliseconds reply_timeout)
    : connection_(std::move(c)), reply_timeout_(reply_timeout) {}

steady_time session::next_reply_by(steady_time deadline) const {
    return std::min(deadline, std::chrono::steady_clock::now() + reply_timeout_);
}

asio::awaitable<std::optional<io_failure>> session::say(std::string bytes, steady_time deadline) {
    if (bytes.empty()) co_return std::nullopt;  // a greeting answers nothing
    // A reply that came before its command answers something else.
    if (connection_->has_unread()) co_return unsolicited;
    const auto by = next_reply_by(deadline);
    co_return co_await connection_->write(std::move(bytes), by);
}

asio::awaitable<std::optional<conclusion>> session::open(opening::options options,
                                                         tls_context& context,
                                                         std::string server_name,
                                                         steady_time deadline) {
    opening dialogue(std::move(options));
    step now = dialogue.start();
    for (;;) {
        std::optional<io_failure> failure;
        if (auto* out = std::get_if<send>(&now)) {
            failure = co_await say(std::move(out->bytes), deadline);
            if (failure) co_return failed_at(dialogue.at(), *failure);
            const auto by = next_reply_by(deadline);
            auto answer = co_await connection_->read_reply(by);
            if (auto* lost = std::get_if<io_failure>(&answer)) {
                co_return failed_at(dialogue.at(), *lost);
            }
            if (connection_->has_unread()) co_return failed_at(dialogue.at(), unsolicited);
            now = dialogue.on_reply(std::get<reply>(answer));
            peer_names_ = dialogue.peer_names();
        } else if (std::holds_alternative<start_tls>(now)) {
            const auto by = next_reply_by(deadline);
            failure = co_await connection_->handshake(context, server_name, by);
            if (failure) co_return failed_at(dialogue.at(), *failure);
            now = dialogue.on_handshake();
        } else if (auto* ended = std::get_if<conclusion>(&now)) {
            co_return std::move(*ended);
        } else {
            break;
        }
    }
    offered_ = dialogue.offered();
    reusable_ = true;
    co_return std::nullopt;
}

asio::awaitable<conclusion> session::ask(const question& q) {
    reusable_ = false;
    transaction dialogue(q, offered_);
    step now = dialogue.start();
    for (;;) {
        if (auto* ended = std::get_if<conclusion>(&now)) {
            // After a 421 the next hop closes (RFC 5321 section 3.8).
            reusable_ = outstanding_ == 0 && !(ended->reply && ended->reply->code == 421);
            co_return std::move(*ended);
        }
        if (auto* out = std::get_if<send>(&now)) {
            outstanding_ += out->replies;
            const auto failure = co_await say(std::move(out->bytes), q.deadline);
            if (failure) co_return failed_at(dialogue.at(), *failure);
        }
        const auto by = next_reply_by(q.deadline);
        auto answer = co_await connection_->read_reply(by);
        if (auto* lost = std::get_if<io_failure>(&answer)) {
            if (dialogue.result()) co_return *dialogue.result();
            co_return failed_at(dialogue.at(), *lost);
        }
        --outstanding_;
        if (outstanding_ == 0 && connection_->has_unread()) {
            co_return failed_at(dialogue.at(), unsolicited);
        }
        now = dialogue.on_reply(std::get<reply>(answer));
    }
}

void session::retire(std::unique_ptr<session> s) {
    if (!s->reusable_) return;  // after a timeout or a broken reply nobody is there to hear QUIT
    const auto executor = s->connection_->executor();
    auto goodbye = say_goodbye(std::move(s->connection_));
    asio::co_spawn(executor, std::move(goodbye), asio::detached);
}

}  // namespace callforward::smtpclient
