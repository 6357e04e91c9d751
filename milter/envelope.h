// What the MTA said about one RCPT, as plain values: the door copies it before anybody else sees
// it.
//
// All text is untrusted: it comes from an SMTP client or from the MTA's tables, and an empty string
// means that the MTA sent no such macro, or was not asked for it.
#pragma once

#include "dns/ip.h"
#include "smtpclient/mailbox.h"

#include <optional>
#include <string>
#include <vector>

namespace callforward::milter {

// What only some policies need to hear: each word costs every RCPT a look-up.
struct wanted_words {
    bool helo = false;    // for a next hop that is told of the client (XCLIENT)
    bool client = false;  // its name and port, and the queue id: for XCLIENT, PROXY, or a script
};

struct mta_identity {
    std::string version;   // {v}: "Postfix 3.7.11", or Sendmail's "8.17.1.9"
    std::string hostname;  // {j}

    // A Postfix with a mail_name of its own needs milter_macro_v to be told: INTERFACE section 2.
    [[nodiscard]] bool is_postfix() const { return version.starts_with("Postfix"); }
    // Anything else may be either.
    [[nodiscard]] bool is_sendmail() const {
        return !version.empty() && version.front() >= '0' && version.front() <= '9';
    }
};

struct envelope {
    mta_identity mta;
    std::string client_address;  // {client_addr}: "192.0.2.1", "IPv6:2001:db8::1"; "" when local
    // Asked for only where a policy needs them (wanted_words).
    std::string queue_id;     // {i}; Postfix has none before the first accepted RCPT
    std::string client_name;  // {client_name}
    std::string client_port;  // {client_port}
    std::string client_helo;  // HELO or EHLO argument

    std::string authenticated;  // {auth_authen}
    std::string mail;  // MAIL argv[0]: "<s@example>", as the client wrote it; {mail_addr} if MAIL
                       // was not seen
    std::vector<std::string> mail_parameters;  // MAIL argv[1..]: "SIZE=1234"
    std::string rcpt;                          // RCPT argv[0]
    std::string rcpt_mailer;                   // {rcpt_mailer}
    std::string rcpt_host;                     // {rcpt_host}
    std::string rcpt_address;                  // {rcpt_addr}

    // What is the same for many recipients is read once: these look at the text again only when it
    // is another one. client: nothing where it is no address. sender: nullptr for the null sender,
    // and for what is no mailbox. from: the sender's address, or what the client says instead; "<>"
    // where it says nothing. Each holds until its text is changed. Thread: one at a time, though
    // they are const.
    [[nodiscard]] const std::optional<dns::ip_address>& client() const;
    [[nodiscard]] const smtpclient::mailbox* sender() const;
    [[nodiscard]] const std::string& from() const;

private:
    struct reading {
        bool is_read = false;  // by now; without memory nothing half read is believed
        std::string text;
    };
    struct client_reading : reading {
        std::optional<dns::ip_address> address;
    };
    struct sender_reading : reading {
        bool is_mailbox = false;
        smtpclient::mailbox mailbox;
        std::string from;
    };
    [[nodiscard]] const sender_reading& read_sender() const;

    mutable client_reading client_;
    mutable sender_reading sender_;
};

}  // namespace callforward::milter
