#include "tests/smtpclient/dialogue_player.h"

#include <deque>
#include <utility>

namespace callforward::testing {

using namespace smtpclient;

namespace {

// One connection's client, fed with bytes.
class client {
public:
    client(const script& s, const question& q, tls_level level)
        : question_(q), opening_(with(s, level)) {
        now_ = opening_.start();
        advance();
    }

    void receive(std::string_view bytes) {
        if (ended_) return;
        if (wants_tls()) return handshake_fails();  // no TLS record
        unread_ += bytes;
        advance();
    }
    void lose(reason why) {
        if (ended_) return;
        if (wants_tls()) return handshake_fails();
        if (transaction_ && transaction_->result()) return end(*transaction_->result());
        end({{usual_class(why), why}, at(), std::nullopt, {}});
    }
    void handshake_succeeds() {
        now_ = opening_.on_handshake();
        advance();
    }
    void handshake_fails() {
        end({{usual_class(reason::tls_failed), reason::tls_failed}, at(), std::nullopt, {}});
    }

    [[nodiscard]] bool wants_tls() const {
        return !ended_ && std::holds_alternative<start_tls>(now_);
    }
    [[nodiscard]] const std::optional<conclusion>& ended() const { return ended_; }
    [[nodiscard]] bool surplus() const { return surplus_; }
    std::deque<std::string> lines;  // said, and not yet read by the server

private:
    static opening::options with(const script& s, tls_level level) {
        auto options = opening_options_of(s);
        options.tls = level;
        return options;
    }
    [[nodiscard]] stage at() const { return transaction_ ? transaction_->at() : opening_.at(); }

    void end(conclusion c) { ended_ = std::move(c); }
    void end_by_surplus() {
        surplus_ = true;
        end({{usual_class(reason::protocol_error), reason::protocol_error},
             at(),
             std::nullopt,
             {}});
    }

    // What session::open() and session::ask() do, as far as the bytes that are here allow.
    void advance() {
        while (!ended_) {
            if (auto* out = std::get_if<send>(&now_)) {
                say(*out);
            } else if (auto* done = std::get_if<conclusion>(&now_)) {
                end(std::move(*done));
            } else if (std::holds_alternative<ready>(now_)) {
                transaction_.emplace(question_, opening_.offered());
                now_ = transaction_->start();
            } else if (wants_tls() || !read_reply()) {
                return;
            }
        }
    }

    void say(send& out) {
        if (!unread_.empty()) return end_by_surplus();
        outstanding_ += out.replies;
        std::string_view rest = out.bytes;
        while (!rest.empty()) {
            const auto line_end = rest.find("\r\n");
            lines.emplace_back(rest.substr(0, line_end));
            rest.remove_prefix(line_end + 2);
        }
        now_ = await_more{};
    }

    bool read_reply() {
        std::string_view input = unread_;
        const auto progress = parser_.feed(input);
        unread_.erase(0, unread_.size() - input.size());
        if (progress == reply_parser::progress::needs_more) return false;
        if (progress == reply_parser::progress::malformed) {
            lose(reason::protocol_error);
            return true;
        }
        const reply r = parser_.take();
        --outstanding_;
        if (outstanding_ == 0 && !unread_.empty()) {
            end_by_surplus();
        } else {
            now_ = transaction_ ? transaction_->on_reply(r) : opening_.on_reply(r);
        }
        return true;
    }

    const question& question_;
    opening opening_;
    std::optional<transaction> transaction_;
    step now_;
    std::string unread_;
    reply_parser parser_;
    std::size_t outstanding_ = 0;
    std::optional<conclusion> ended_;
    bool surplus_ = false;
};

class player {
public:
    player(const script& s, const dialogue_play& how)
        : script_(s), how_(how), question_(question_of(s)) {
        client_.emplace(script_, question_, tls_of(script_));
    }

    dialogue_result run() {
        std::size_t done = 0;
        for (const auto& step : script_.steps) {
            if (how_.cut_after == done) break;
            if (how_.hang_up_at_mismatch && !result_.mismatches.empty()) break;
            take(step);
            ++done;
            if (how_.inject && how_.inject->after == done) output_ += how_.inject->bytes;
        }
        flush();
        if (how_.cut_after) client_->lose(reason::disconnected);
        if (!client_->lines.empty() && !how_.cut_after) {
            mismatch("not in the script: " + client_->lines.front());
        }
        if (client_->ended()) {
            result_.words = in_words(client_->ended()->finding, client_->ended()->stage);
        } else {
            mismatch("the script ends before the dialogue");
        }
        result_.surplus = result_.surplus || client_->surplus();
        return std::move(result_);
    }

private:
    void take(const script_step& step) {
        if (step.kind == step_kind::server) {
            output_ += step.text;
            return;
        }
        flush();
        switch (step.kind) {
            case step_kind::server:
                break;
            case step_kind::client:
                expect(step);
                break;
            case step_kind::tls:
                if (!client_->wants_tls()) return mismatch("no handshake wanted");
                client_->handshake_succeeds();
                break;
            case step_kind::tls_garbage:
                if (!client_->wants_tls()) return mismatch("no handshake wanted");
                client_->handshake_fails();
                break;
            case step_kind::close:
            case step_kind::reset:
                client_->lose(reason::disconnected);
                break;
            case step_kind::stall:
                client_->lose(reason::timed_out);
                break;
            case step_kind::next:
                connect_again();
                break;
        }
    }

    void expect(const script_step& step) {
        if (client_->lines.empty()) return mismatch("not said: " + step.source());
        if (!matches(step, client_->lines.front())) {
            mismatch(step.source() + ", but said: " + client_->lines.front());
        }
        client_->lines.pop_front();
    }

    void flush() {
        const std::string bytes = std::exchange(output_, {});
        if (bytes.empty()) return;
        if (!client_->lines.empty()) mismatch("said too early: " + client_->lines.front());
        if (!how_.byte_by_byte) return client_->receive(bytes);
        for (const char& byte : bytes) client_->receive({&byte, 1});
    }

    // As call_forward does: with the other sender, when MAIL was refused; or after a handshake that
    // failed, in clear, when TLS is opportunistic.
    void connect_again() {
        const auto& ended = client_->ended();
        const bool refused = ended && ended->stage == stage::mail && ended->reply &&
                             ended->reply->status_class() == 5;
        if (const auto other = fallback_of(script_);
            refused && other != question_.sender && other) {
            result_.surplus = result_.surplus || client_->surplus();
            ++result_.connections;
            question_.sender = *other;
            question_.original_sender = false;
            client_.emplace(script_, question_, tls_of(script_));
            return;
        }
        if (!ended || ended->stage != stage::handshake || tls_of(script_) != tls_level::may ||
            protocol_of(script_) == protocol::smtps) {
            mismatch("there is no reason for a new connection");
        }
        result_.surplus = result_.surplus || client_->surplus();
        ++result_.connections;
        client_.emplace(script_, question_, tls_level::none);
    }

    void mismatch(std::string what) {
        result_.mismatches.push_back(script_.name + ": " + std::move(what));
    }

    const script& script_;
    const dialogue_play& how_;
    question question_;
    std::optional<client> client_;
    std::string output_;
    dialogue_result result_;
};

}  // namespace

dialogue_result play(const script& s, const dialogue_play& how) {
    return player(s, how).run();
}

}  // namespace callforward::testing
