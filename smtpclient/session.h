// One SMTP session with a next hop: the dialogues, driven over a connection.
//
// open() once, then ask() for each recipient; after an ask() the session is reusable() only if
// every reply was accounted for and nothing lies unread. A verdict is only believed from a session
// in step: unexpected bytes are a protocol error, whatever they say. Bounded: each reply by
// transport.reply_timeout, all by the question's deadline.
#pragma once

#include "smtpclient/connection.h"
#include "smtpclient/dialogue.h"

#include <asio/awaitable.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace callforward::smtpclient {

class session {
public:
    session(std::unique_ptr<connection> c, std::chrono::milliseconds reply_timeout);

    // Nothing when the session is ready. server_name: for TLS; may be "".
    [[nodiscard]] asio::awaitable<std::optional<conclusion>> open(opening::options options,
                                                                  tls_context& context,
                                                                  std::string server_name,
                                                                  steady_time deadline);
    // q must live until the answer is there.
    [[nodiscard]] asio::awaitable<conclusion> ask(const question& q);

    [[nodiscard]] const std::vector<std::string>& peer_names() const { return peer_names_; }
    [[nodiscard]] bool reusable() const { return reusable_; }
    [[nodiscard]] const std::optional<tls_summary>& tls() const { return connection_->tls(); }
    // Says goodbye to a healthy next hop in the background, or just closes.
    static void retire(std::unique_ptr<session> s);

private:
    [[nodiscard]] steady_time next_reply_by(steady_time deadline) const;
    [[nodiscard]] asio::awaitable<std::optional<io_failure>> say(std::string bytes,
                                                                 steady_time deadline);

    std::unique_ptr<connection> connection_;
    std::chrono::milliseconds reply_timeout_;
    extensions offered_;
    std::vector<std::string> peer_names_;
    bool reusable_ = false;
    std::size_t outstanding_ = 0;  // replies owed to us
};

}  // namespace callforward::smtpclient
