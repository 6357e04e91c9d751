// The load generator's SMTP client: banner, EHLO, MAIL, RCPT..., RSET and MAIL in one write, QUIT.
#include "tests/bench/load_client.h"

namespace callforward::bench {
namespace {

constexpr std::string_view mail_command = "MAIL FROM:<sender@bench.example>\r\n";

class smtp_client final : public client {
public:
    using client::client;

protected:
    void connected() override { state_ = state::banner; }

    void received(std::string_view& input) override {
        for (auto end = input.find('\n'); end != std::string_view::npos; end = input.find('\n')) {
            const std::string_view line = input.substr(0, end);
            input.remove_prefix(end + 1);
            if (line.size() < 4) {
                broken();
                return;
            }
            if (line[3] == '-') continue;
            const int code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
            if (!replied(code)) return;
        }
    }

    void send_recipient(const recipient& r) override {
        const bool batch = of().options().batch != 0;
        out_ += batch ? mail_command : std::string_view{};
        out_.append("RCPT TO:<").append(r.address).append(batch ? ">\r\nRSET\r\n" : ">\r\n");
        state_ = batch ? state::batch : state::recipient;
        place_ = 0;
        if (++collected_ < (batch ? of().options().batch : 1)) return;
        flush();
    }

    void begin_transaction() override {
        state_ = state::reset;
        out_ += "RSET\r\n";
        out_ += mail_command;
        flush();
    }

    void send_quit() override { send("QUIT\r\n"); }

private:
    enum class state { banner, ehlo, reset, mail, recipient, batch };

    void flush() {
        collected_ = 0;
        send(out_);
        out_.clear();
    }

    // False when this connection's replies are of no more interest.
    bool replied(int code) {
        switch (state_) {
            case state::banner:
                state_ = state::ehlo;
                return expect(code, 220, "EHLO client.bench.example\r\n");
            case state::ehlo:
                if (of().options().batch != 0) {
                    if (code != 250) return give_up();
                    ready();
                    return true;
                }
                state_ = state::mail;
                return expect(code, 250, mail_command);
            case state::reset:
                state_ = state::mail;
                return expect(code, 250, {});
            case state::mail:
                if (code != 250) return give_up();
                ready();
                return true;
            case state::recipient:
                answered(code);
                return code != 421;
            case state::batch:
                place_ = (place_ + 1) % 3;
                if (place_ == 2) last_code_ = code;
                // Counted when its RSET has been answered: a new batch then meets no old reply.
                if (place_ == 0) answered(last_code_);
                return true;
        }
        return false;
    }

    bool expect(int code, int wanted, std::string_view next) {
        if (code != wanted) return give_up();
        send(next);
        return true;
    }

    bool give_up() {
        broken();
        return false;
    }

    state state_ = state::banner;
    std::string out_;
    unsigned collected_ = 0;
    int place_ = 0;  // in MAIL RCPT RSET
    int last_code_ = 0;
};

}  // namespace

std::unique_ptr<client> make_smtp_client(load& run, group& g) {
    return std::make_unique<smtp_client>(run, g);
}

}  // namespace callforward::bench
