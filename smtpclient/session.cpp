#include "smtpclient/session.h"

#include <algorithm>

namespace callforward::smtpclient {

conclusion failed_at(stage at, const io_failure& failure) {
    return {{usual_class(failure.reason), failure.reason}, at, std::nullopt, failure.why};
}

io_failure unsolicited_reply() {
    return {reason::protocol_error, "more replies than commands"};
}

asio::awaitable<opened> open_session(connection& c,
                                     opening::options options,
                                     tls_setup tls,
                                     std::chrono::milliseconds reply_timeout,
                                     steady_time deadline,
                                     stage& at) {
    opening dialogue(std::move(options));
    opened result;
    step now = dialogue.start();
    while (!std::holds_alternative<ready>(now)) {
        const auto by = std::min(deadline, std::chrono::steady_clock::now() + reply_timeout);
        std::optional<io_failure> failure;
        at = dialogue.at();
        if (auto* ended = std::get_if<conclusion>(&now)) {
            result.failed = std::move(*ended);
            break;
        }
        if (std::holds_alternative<start_tls>(now)) {
            failure = co_await c.handshake(tls, by);
            if (!failure) now = dialogue.on_handshake();
        } else {
            auto* const out = std::get_if<send>(&now);
            if (out != nullptr && !out->bytes.empty()) {
                failure = co_await c.write(std::move(out->bytes), by);
            }
            if (!failure) {
                auto answer = co_await c.read_reply(by);
                if (auto* lost = std::get_if<io_failure>(&answer)) failure = std::move(*lost);
                // A reply that came before its command answers something else.
                if (!failure && c.has_unread()) failure = unsolicited_reply();
                if (!failure) now = dialogue.on_reply(std::get<reply>(answer));
            }
        }
        if (failure) {
            result.failed = failed_at(dialogue.at(), *failure);
            break;
        }
    }
    result.offered = dialogue.offered();
    result.peer_names = dialogue.peer_names();
    co_return result;
}

}  // namespace callforward::smtpclient
