// The client's side of a conversation against any server: whatever is said, and however it is cut,
// only a 5xx to RCPT makes a recipient undeliverable, only 2xx to MAIL and RCPT deliverable; no
// command is ever more than one line; MAIL is never said in clear where TLS is a must; and the
// dialogue ends. The input is a setting, then events: raw bytes, replies from a list, the end of a
// handshake, the end of the connection.
#include "smtpclient/dialogue.h"
#include "tests/fuzz/input.h"

#include <array>
#include <cstdlib>
#include <deque>

using namespace callforward::smtpclient;
using callforward::fuzz::input;

namespace {

constexpr std::array<std::string_view, 32> replies{
    "220 mx.next.test ESMTP\r\n",
    "250 mx.next.test\r\n",
    "250-mx.next.test\r\n250-PIPELINING\r\n250 STARTTLS\r\n",
    "250-mx.next.test\r\n250-STARTTLS\r\n250 SIZE 1000\r\n",
    "250-mx.next.test\r\n250-PIPELINING\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n",
    "250-mx.next.test\r\n250-XCLIENT ADDR NAME\r\n250 AUTH PLAIN LOGIN\r\n",
    "220 2.0.0 go ahead\r\n",
    "250 2.1.0 ok\r\n",
    "250 2.1.5 ok\r\n",
    "251 2.1.5 will forward\r\n",
    "252 2.1.5 cannot verify\r\n",
    "235 2.7.0 authenticated\r\n",
    "334 VXNlcm5hbWU6\r\n",
    "354 go ahead\r\n",
    "421 4.3.2 closing\r\n",
    "450 4.2.0 later\r\n",
    "450 5.1.1 soft\r\n",
    "451 4.7.1 greylisted\r\n",
    "452 4.5.3 too many recipients\r\n",
    "454 4.7.0 no TLS\r\n",
    "500 5.5.1 what\r\n",
    "501 5.1.3 syntax\r\n",
    "502 5.5.1 no such command\r\n",
    "503 5.5.1 sequence\r\n",
    "530 5.7.0 STARTTLS first\r\n",
    "535 5.7.8 no\r\n",
    "550 5.1.1 no such user\r\n",
    "550 no such user\r\n",
    "550-5.1.1 no\r\n550 5.1.1 such user\r\n",
    "552 5.2.2 full\r\n",
    "554 5.7.1 blocked\r\n",
    "2",
};

[[nodiscard]] bool is_secret_level(tls_level level) {
    return level != tls_level::none && level != tls_level::may;
}

class conversation {
public:
    conversation(input& in, question q, opening::options options)
        : in_(in), question_(std::move(q)), options_(options), opening_(std::move(options)) {
        now_ = opening_.start();
        after_ = static_cast<transaction::ending>(in.below(3));
    }

    void run() {
        for (unsigned turns = 0; !ended_; ++turns) {
            if (turns > 10000) std::abort();  // each turn takes a byte or ends
            advance();
            if (ended_) return;
            if (in_.empty()) return;
            event();
        }
    }

private:
    void event() {
        const bool handshake = std::holds_alternative<start_tls>(now_);
        const unsigned what = in_.byte();
        if (what < replies.size()) {
            receive(replies.at(what));
        } else if (what < 0xe0) {
            receive(in_.text());
        } else if (what < 0xf8 && handshake) {
            secured_ = true;
            now_ = opening_.on_handshake();
        } else {
            ended_ = true;
        }
    }

    void receive(std::string_view bytes) {
        if (std::holds_alternative<start_tls>(now_)) {  // no TLS record
            ended_ = true;
            return;
        }
        unread_ += bytes;
    }

    // As session.cpp and carrier.cpp do, as far as the bytes that are here allow.
    void advance() {
        while (!ended_) {
            if (auto* out = std::get_if<send>(&now_)) {
                say(*out);
            } else if (const auto* done = std::get_if<conclusion>(&now_)) {
                judge(*done);
                ended_ = true;
            } else if (std::holds_alternative<ready>(now_)) {
                if (!owed_.empty()) std::abort();  // ready, with a reply outstanding
                transaction_.emplace(question_, opening_.offered(), after_);
                now_ = transaction_->start();
            } else if (std::holds_alternative<start_tls>(now_)) {
                if (!unread_.empty()) ended_ = true;  // injected
                return;
            } else if (!read_reply()) {
                return;
            }
        }
    }

    void say(const send& out) {
        if (!unread_.empty()) {
            ended_ = true;  // surplus bytes: the session is dropped
            return;
        }
        std::size_t lines = 0;
        std::string_view rest = out.bytes;
        if (rest.empty()) {
            owed_.emplace_back("greeting");
            ++lines;
        }
        while (!rest.empty()) {
            const auto end = rest.find("\r\n");
            if (end == std::string_view::npos) std::abort();
            const std::string_view line = rest.substr(0, end);
            for (const char c : line) {
                if (c == '\r' || c == '\n' || c == '\0' || c == '\x7f') std::abort();
            }
            check_command(line);
            rest.remove_prefix(end + 2);
            ++lines;
        }
        if (lines != out.replies) std::abort();
        now_ = await_more{};
    }

    void check_command(std::string_view line) {
        const std::string verb(line.substr(0, line.find(' ')));
        const bool clear = !secured_;
        if (clear && is_secret_level(options_.tls) && (verb == "MAIL" || verb == "AUTH")) {
            std::abort();
        }
        if (clear && verb == "AUTH") std::abort();
        owed_.push_back(verb);
    }

    bool read_reply() {
        std::string_view bytes = unread_;
        const auto progress = parser_.feed(bytes);
        unread_.erase(0, unread_.size() - bytes.size());
        if (progress == reply_parser::progress::needs_more) return false;
        if (progress == reply_parser::progress::malformed || owed_.empty()) {
            ended_ = true;
            return true;
        }
        const reply r = parser_.take();
        const std::string to = owed_.front();
        owed_.pop_front();
        if (owed_.empty() && !unread_.empty()) {
            ended_ = true;
            return true;
        }
        if (to == "MAIL") mail_code_ = r.code;
        if (to == "RCPT") rcpt_code_ = r.code;
        now_ = transaction_ ? transaction_->on_reply(r) : opening_.on_reply(r);
        if (transaction_ && transaction_->result()) judge(*transaction_->result());
        return true;
    }

    void judge(const conclusion& c) const {
        const verdict_class came_to = c.finding.verdict_class;
        if (came_to == verdict_class::undeliverable) {
            if (rcpt_code_ / 100 != 5 || mail_code_ / 100 != 2 || c.stage != stage::rcpt) {
                std::abort();
            }
        }
        if (came_to == verdict_class::deliverable) {
            if (rcpt_code_ / 100 != 2 || mail_code_ / 100 != 2) std::abort();
        }
        if (came_to == verdict_class::sender_refused && !question_.original_sender) std::abort();
        if (came_to == verdict_class::deferred && rcpt_code_ / 100 != 4) std::abort();
        if (c.reply && c.reply->lines.empty()) std::abort();
        if (!callforward::fuzz::is_printable_line(c.detail)) std::abort();
    }

    input& in_;
    question question_;
    opening::options options_;
    opening opening_;
    std::optional<transaction> transaction_;
    transaction::ending after_ = transaction::ending::none;
    step now_;
    std::string unread_;
    reply_parser parser_;
    std::deque<std::string> owed_;
    bool secured_ = false;
    bool ended_ = false;
    int mail_code_ = 0;
    int rcpt_code_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    input in(data, size);
    opening::options options;
    options.helo = "client.test";
    options.protocol = in.one_of(protocol::lmtp);
    options.tls = in.one_of(tls_level::encrypt);
    question q;
    constexpr std::array<const char*, 4> recipients{
        "bob@next.test", "\"b \\\" b\"@next.test", "b\xc3\xb6@next.test", "b@[192.0.2.1]"};
    q.recipient = *mailbox::parse(recipients.at(in.below(4)));
    constexpr std::array<const char*, 3> senders{"alice@sender.test", "", "\xc3\xa4@sender.test"};
    q.sender = senders.at(in.below(3));
    q.original_sender = in.flag();
    if (in.flag()) q.parameters.size = 1234;
    if (in.flag()) q.parameters.body = "8BITMIME";
    q.parameters.smtputf8 = in.flag();
    static const auto by = std::make_shared<const transport>();
    q.by = by;
    conversation(in, std::move(q), std::move(options)).run();
    return 0;
}
