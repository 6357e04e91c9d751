// Plays the MTA's side of the milter protocol (version 6) against a filter: no MTA is needed to
// test one.
//
// Two characters: Postfix 3.7 and Sendmail 8.17. They offer the same (actions 0x1ff, protocol
// 0x1fffff) and differ in macros, in patience (30 s and 10 s for a reply), and in progress replies,
// which Postfix waits through and Sendmail takes for a bogus answer. Stages that the filter
// switched off (NO*) are not sent, but their macros are; stages with NR_* get no reply. Anything
// against the protocol, or too late, throws mta_error. Blocking; one object, one thread. Missing:
// headers with NR_HDR subtleties, and acting upon the filter's changes at end of message (they are
// counted).
#pragma once

#include "tests/support/stream.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::testing {

enum class mta_kind { postfix, sendmail };

// By the character of the command in the protocol (SMFIC_*).
enum class milter_stage : char {
    connect = 'C',
    helo = 'H',
    mail = 'M',
    rcpt = 'R',
    data = 'T',
    end_of_headers = 'N',
    end_of_message = 'E',
};

struct milter_negotiation {
    std::uint32_t version = 0;
    std::uint32_t actions = 0;   // SMFIF_* the filter wants
    std::uint32_t protocol = 0;  // SMFIP_* the filter wants
    std::map<milter_stage, std::vector<std::string>>
        symbols;  // macros asked for by smfi_setsymlist
};

struct milter_reply {
    char action = 'c';  // SMFIR_*: c continue, a accept, d discard, r reject, t tempfail, y reply
                        // code, s skip
    std::string text;   // of y: the lines as the SMTP client would see them, joined by \r\n
    unsigned progress = 0;                       // p replies that came before
    milter_stage stage = milter_stage::connect;  // what was answered
    bool sent = true;  // false: nobody was asked (stage switched off, or accepted earlier); action
                       // is then c or a

    [[nodiscard]] bool goes_on() const { return action == 'c' || action == 'a' || action == 's'; }
};

using macro_map =
    std::map<std::string, std::string>;  // names as in the protocol: "i", "{rcpt_addr}"

class mta_error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

class mta {
public:
    explicit mta(mta_kind kind);

    [[nodiscard]] mta_kind kind() const { return kind_; }
    void patience(std::chrono::milliseconds time) { patience_ = time; }  // for each reply

    // "unix:/path", "/path", "HOST:PORT", or as the filter's configuration has it:
    // "inet:PORT@HOST". Numeric hosts.
    void connect(const std::string& filter);
    const milter_negotiation& negotiate();
    [[nodiscard]] const milter_negotiation& negotiated() const { return negotiated_; }

    // Exactly these, whatever was asked for; usual_macros() chooses as the MTAs do.
    void macros(milter_stage stage, const macro_map& macros);
    // address: "192.0.2.1", "IPv6:2001:db8::1", "unix:path", or "" for a client without one
    // (sendmail -bs).
    milter_reply connect_info(const std::string& name,
                              const std::string& address,
                              std::uint16_t port);
    milter_reply helo(const std::string& name);
    milter_reply mail(const std::vector<std::string>& argv);
    milter_reply rcpt(const std::vector<std::string>& argv);
    milter_reply data();
    milter_reply end_of_message();  // without any header or body, as after a DATA of nothing
    void abort();                   // the end of a transaction, not of the connection
    void quit();                    // and closes
    void vanish() { connection_.reset(); }  // closes without a word

    // Of the known macros those the filter asked for at this stage, or the MTA's default ones.
    [[nodiscard]] macro_map usual_macros(milter_stage stage, const macro_map& known) const;

private:
    struct packet {
        char command = 0;
        std::string data;
    };
    [[nodiscard]] stream& connection();
    void send(char command, std::string_view data);
    [[nodiscard]] packet receive(std::string_view waiting_for);
    [[nodiscard]] milter_reply ask(milter_stage stage, std::string_view data);
    [[nodiscard]] milter_reply await_reply(milter_stage stage);
    void read_negotiation(const packet& answer);

    mta_kind kind_;
    std::chrono::milliseconds patience_;
    std::optional<stream> connection_;
    milter_negotiation negotiated_;
    bool accepted_ = false;  // for the rest of the connection
    bool transaction_accepted_ = false;
};

}  // namespace callforward::testing
