// The SMTP and LMTP client's side of a conversation as values: no socket, no clock, no asio (RFC
// 5321, 2033, 3207).
//
// `opening` runs once a connection, from the greeting until commands may be sent; `transaction`
// runs once a recipient, as often as the session lives. Each is driven alike: do what start() says,
// then give every reply to on_reply() and do what it says. A dialogue never asks for more replies
// than it has commands out; a driver that finds bytes beyond them must drop the session. When the
// connection fails instead, at() says at which stage.
#pragma once

#include "smtpclient/extensions.h"
#include "smtpclient/question.h"
#include "smtpclient/verdict.h"

#include <cstddef>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace callforward::smtpclient {

struct conclusion {  // how a dialogue ended, when it did not end well, or with the verdict
    smtpclient::finding finding;
    smtpclient::stage stage = smtpclient::stage::none;
    std::optional<smtpclient::reply> reply;
    std::string detail;  // printable
};

struct send {           // write the bytes at once (none: only listen), then expect so many replies
    std::string bytes;  // whole lines with CRLF
    std::size_t replies = 1;
};
struct start_tls {};   // with nothing unread in the buffer; then on_handshake()
struct await_more {};  // a reply to what was already sent is outstanding
struct ready {};       // the session may carry transactions
using step = std::variant<send, start_tls, await_more, ready, conclusion>;

class opening {
public:
    struct options {
        std::string helo;
        smtpclient::protocol protocol = protocol::smtp;
        tls_level tls = tls_level::may;
    };

    explicit opening(options o);

    [[nodiscard]] step start();
    [[nodiscard]] step on_reply(const reply& r);
    [[nodiscard]] step on_handshake();
    [[nodiscard]] smtpclient::stage at() const { return stage_; }
    [[nodiscard]] const extensions& offered() const { return offered_; }  // after ready
    // What the next hop calls itself in its greeting and its reply to EHLO; untrusted, host names
    // only.
    [[nodiscard]] const std::vector<std::string>& peer_names() const { return peer_names_; }

private:
    [[nodiscard]] step greet();
    void note_name(const reply& r);
    [[nodiscard]] step fail(const reply& r) const;
    [[nodiscard]] step on_greeting(const reply& r);
    [[nodiscard]] step on_ehlo(const reply& r);
    [[nodiscard]] step on_helo(const reply& r);
    [[nodiscard]] step on_starttls(const reply& r);
    [[nodiscard]] step enough_or_insecure(std::string_view why, reason r) const;

    options options_;
    extensions offered_;
    smtpclient::stage stage_ = stage::greeting;
    bool secured_ = false;
    std::vector<std::string> peer_names_;
};

class transaction {
public:
    // The question and the extensions must outlive the transaction. With reset_after, RSET leaves
    // the session ready for the next one; its reply has to be good, or the replies are out of step
    // and nothing of them counts.
    transaction(const question& q, const extensions& offered, bool reset_after = false);

    [[nodiscard]] step start();
    [[nodiscard]] step on_reply(const reply& r);
    [[nodiscard]] smtpclient::stage at() const { return stage_; }
    // Known as soon as the reply that decides is in, even while others are outstanding.
    [[nodiscard]] const std::optional<conclusion>& result() const { return result_; }

private:
    [[nodiscard]] std::optional<std::string> mail_command() const;
    [[nodiscard]] std::optional<std::string> rcpt_command() const;
    void conclude(const reply& r);
    [[nodiscard]] step on_rcpt(const reply& r);
    [[nodiscard]] step on_reset(const reply& r) const;

    const question& question_;
    const extensions& offered_;
    bool reset_after_;
    std::string rcpt_;  // the command still to be sent when not pipelined
    smtpclient::stage stage_ = stage::mail;
    bool resetting_ = false;
    std::optional<conclusion> result_;
};

}  // namespace callforward::smtpclient
