// One SMTP client with one recipient, as Postfix or Sendmail would tell a filter about it.
//
// For tests of the filter that are not about the protocol: fill in what matters, play() does the
// rest with the macros that the MTA at hand would send at each stage (or that the filter asked
// for).
#pragma once

#include "tests/support/mta.h"

#include <cstdint>
#include <string>
#include <vector>

namespace callforward::testing {

struct smtp_session {
    std::string client_address = "192.0.2.10";
    std::string client_name = "client.example";
    std::uint16_t client_port = 40000;
    std::string helo = "client.example";
    std::string auth;  // the authenticated user
    std::string mail = "<sender@example.org>";
    std::vector<std::string> mail_parameters;
    std::string rcpt;  // with brackets, as the client sends it
    std::vector<std::string> rcpt_parameters;
    std::string rcpt_mailer = "smtp";  // an empty macro is not sent, as from non_smtpd_milters
    std::string rcpt_host;
    std::string rcpt_addr;
    std::string queue_id = "4XyZ0a1b2c";

    [[nodiscard]] macro_map known_macros(mta_kind kind) const;
};

// Client, HELO, MAIL and RCPT on a negotiated connection. Returns the reply to RCPT, or the refusal
// of an earlier stage.
milter_reply play(mta& mta, const smtp_session& session);
// One more RCPT in the transaction under way.
milter_reply play_rcpt(mta& mta, const smtp_session& session);

}  // namespace callforward::testing
