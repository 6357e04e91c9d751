// The load generator as the MTA of a milter (protocol 6): the macros that callforward asks for, in
// the order in which it names them, as Postfix sends them.
//
// Lean where tests/support/mta.h is complete: the filter must leave CONNECT and HELO alone
// (SMFIP_NOCONNECT, SMFIP_NOHELO) as callforward does. The macros of stages that are off are sent
// all the same, as Postfix does, and macros go out with their command in one write.
#include "tests/bench/load_client.h"

#include <arpa/inet.h>

#include <cstring>

namespace callforward::bench {
namespace {

constexpr std::uint32_t protocol_version = 6;
constexpr std::uint32_t offered_actions = 0x1ff;
constexpr std::uint32_t offered_steps = 0x1fffff;
constexpr std::uint32_t no_connect_no_helo = 0x3;
constexpr std::uint32_t mail_without_reply = 0x4000;  // SMFIP_NR_MAIL
constexpr std::uint32_t no_mail = 0x4;
constexpr std::size_t header = 5;  // length and command
constexpr std::string_view sender = "sender@bench.example";

std::string big_endian(std::uint32_t number) {
    const std::uint32_t wire = htonl(number);
    std::string bytes(sizeof wire, '\0');
    std::memcpy(bytes.data(), &wire, sizeof wire);
    return bytes;
}

std::uint32_t number_at(std::string_view bytes, std::size_t place) {
    std::uint32_t wire = 0;
    std::memcpy(&wire, bytes.data() + place, sizeof wire);
    return ntohl(wire);
}

class packet {  // one, appended to a write
public:
    packet(std::string& out, char command) : out_(out), begin_(out.size()) {
        out_.append(4, '\0');
        out_ += command;
    }
    ~packet() {
        const auto length = htonl(static_cast<std::uint32_t>(out_.size() - begin_ - 4));
        std::memcpy(out_.data() + begin_, &length, sizeof length);
    }
    packet(const packet&) = delete;
    packet& operator=(const packet&) = delete;
    packet& text(std::string_view value) {
        out_.append(value) += '\0';
        return *this;
    }
    packet& raw(std::string_view value) {
        out_ += value;
        return *this;
    }
    packet& macro(std::string_view name, std::string_view value) { return text(name).text(value); }

private:
    std::string& out_;
    std::size_t begin_;
};

class milter_client final : public client {
public:
    using client::client;

protected:
    void connected() override {
        out_.clear();
        packet(out_, 'O').raw(big_endian(protocol_version) + big_endian(offered_actions) +
                              big_endian(offered_steps));
        state_ = state::negotiating;
        flush();
    }

    void received(std::string_view& input) override {
        while (input.size() >= header) {
            const std::size_t length = number_at(input, 0);
            if (length == 0 || length > 65536) {
                broken();
                return;
            }
            if (input.size() < 4 + length) return;
            const std::string_view whole = input.substr(4, length);
            input.remove_prefix(4 + length);
            if (!reply(whole.front(), whole.substr(1))) return;
        }
    }

    void send_recipient(const recipient& r) override {
        {
            packet macros(out_, 'D');
            macros.raw("R").macro("{client_addr}", client_).macro("{rcpt_mailer}", "smtp");
            macros.macro(
                "{rcpt_host}",
                '[' + dotted(host_address(r.host)) + "]:" + std::to_string(run().next_hop_port));
            macros.macro("{rcpt_addr}", r.address).macro("{mail_addr}", sender);
            macros.macro("j", "mx.bench.test").macro("v", "Postfix 3.7.11");
        }
        packet(out_, 'R').text('<' + r.address + '>');
        state_ = state::recipient;
        flush();
    }

    void begin_transaction() override {
        packet(out_, 'A');
        send_mail();
    }

    void send_quit() override {
        packet(out_, 'A');
        packet(out_, 'Q');
        flush();
    }

private:
    enum class state { negotiating, mail, recipient };

    void flush() {
        send(out_);
        out_.clear();
    }

    void send_mail() {
        {
            packet macros(out_, 'D');
            macros.raw("M").macro("{mail_mailer}", "smtp").macro("{mail_addr}", sender);
        }
        if ((steps_ & no_mail) == 0) packet(out_, 'M').text("<sender@bench.example>");
        flush();
        state_ = state::mail;
        if ((steps_ & (mail_without_reply | no_mail)) != 0) ready();
    }

    bool negotiated(std::string_view data) {
        if (data.size() < 12) return give_up();
        steps_ = number_at(data, 8);
        if ((steps_ & no_connect_no_helo) != no_connect_no_helo) return give_up();
        client_ = dotted(address());
        {
            packet macros(out_, 'D');
            macros.raw("C").macro("j", "mx.bench.test").macro("{daemon_name}", "mx.bench.test");
            macros.macro("v", "Postfix 3.7.11");
        }
        packet(out_, 'D').raw("H");
        send_mail();
        return true;
    }

    bool reply(char command, std::string_view data) {
        switch (state_) {
            case state::negotiating:
                return command == 'O' ? negotiated(data) : give_up();
            case state::mail:
                if (command != 'c') return give_up();
                ready();
                return true;
            case state::recipient:
                return verdict(command, data);
        }
        return false;
    }

    bool verdict(char command, std::string_view data) {
        int code = 0;
        switch (command) {
            case 'p':  // still at it
                return true;
            case 'c':
            case 'a':
                code = 250;
                break;
            case 't':
                code = 451;
                break;
            case 'r':
                code = 550;
                break;
            case 'y':
                if (data.size() < 3) return give_up();
                code = (data[0] - '0') * 100 + (data[1] - '0') * 10 + (data[2] - '0');
                break;
            default:
                return give_up();
        }
        answered(code);
        return code != 421;
    }

    bool give_up() {
        broken();
        return false;
    }

    state state_ = state::negotiating;
    std::uint32_t steps_ = 0;
    std::string out_;
    std::string client_;
};

}  // namespace

std::unique_ptr<client> make_milter_client(load& run, group& g) {
    return std::make_unique<milter_client>(run, g);
}

}  // namespace callforward::bench
