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
    std::string detail;    // printable
    bool hang_up = false;  // content would come next: the connection is dropped, and nothing said
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
    struct options {  // rules: about replies that end the opening
        std::string helo;
        smtpclient::protocol protocol = protocol::smtp;
        tls_level tls = tls_level::may;
        credentials login = {};
        std::optional<client_identity> client =
            std::nullopt;  // told by XCLIENT, where that is offered
        std::vector<classify_rule> rules = {};
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
    [[nodiscard]] step enough_or_insecure(std::string_view why, reason r);
    // introduction.cpp: what comes between TLS and the first transaction.
    [[nodiscard]] step introduce();
    [[nodiscard]] std::string helo_name() const;
    [[nodiscard]] step begin_auth();
    [[nodiscard]] step begin_auth_login();
    [[nodiscard]] step on_auth(const reply& r);
    [[nodiscard]] step on_xclient(const reply& r);

    enum class auth_turn { none, plain, login, login_name, login_password };  // what was sent last

    options options_;
    extensions offered_;
    smtpclient::stage stage_ = stage::greeting;
    bool secured_ = false;
    bool client_told_ = false;
    auth_turn auth_ = auth_turn::none;
    std::vector<std::string> peer_names_;
};

class transaction {
public:
    // What is said after the recipient's answer. RSET leaves the session ready for the next one,
    // QUIT ends it; their reply has to be good, or the replies are out of step and nothing of them
    // counts.
    enum class ending { none, rset, quit };

    // The question and the extensions must outlive the transaction.
    transaction(const question& q, const extensions& offered, ending after = ending::none);

    [[nodiscard]] step start();
    [[nodiscard]] step on_reply(const reply& r);
    [[nodiscard]] smtpclient::stage at() const { return stage_; }
    // All that is still to come is the reply to QUIT, or to RSET.
    [[nodiscard]] bool says_goodbye() const { return ends_ && after_ == ending::quit; }
    [[nodiscard]] bool is_resetting() const { return ends_ && after_ == ending::rset && due_ == 1; }
    // To what was sent so far.
    [[nodiscard]] std::size_t replies_due() const { return due_; }
    // Known as soon as the reply that decides is in, even while others are outstanding.
    [[nodiscard]] const std::optional<conclusion>& result() const { return result_; }

private:
    [[nodiscard]] std::optional<std::string> mail_command() const;
    [[nodiscard]] std::optional<std::string> rcpt_command() const;
    void conclude(const reply& r);
    [[nodiscard]] step say(std::string bytes, std::size_t replies = 1);
    [[nodiscard]] bool batches() const;
    [[nodiscard]] step on_rcpt(const reply& r);
    [[nodiscard]] step on_data(const reply& r);
    [[nodiscard]] step leave();
    [[nodiscard]] step on_end(const reply& r);

    const question& question_;
    const extensions& offered_;
    const ending after_;
    std::string rcpt_;  // the command still to be sent when not pipelined
    smtpclient::stage stage_ = stage::mail;
    bool ends_ = false;  // RSET or QUIT is said, or is what is said next
    std::size_t due_ = 0;
    std::optional<conclusion> result_;
};

}  // namespace callforward::smtpclient
