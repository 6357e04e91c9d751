// What test-smtp-server says in one SMTP or LMTP session, as a value: command lines in, answers
// out. No sockets.
//
// The rules decide; where they say nothing it is a plain server that accepts: 220, 250 to MAIL,
// RCPT and RSET, 354 to DATA, 503 to what is out of order. Content is refused with 554 unless the
// server was told to accept it, and forgotten either way. The rules come with every call, because a
// reload may change them between two commands.
#pragma once

#include "tests/support/smtp_rules.h"

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace callforward::testing {

struct next_hop_answer {
    enum class what { go_on, start_tls, close, reset, stall };

    std::string bytes;                   // sent after the delay
    std::chrono::milliseconds delay{0};  // meanwhile nothing more is read
    what then = what::go_on;             // after the bytes
    std::string event;                   // for the log, printable; "" is none
};

class next_hop_session {
public:
    explicit next_hop_session(bool accept_data) : accept_data_(accept_data) {}

    [[nodiscard]] next_hop_answer greeting(const smtp_rules& rules) const;
    // One line without its line end.
    [[nodiscard]] next_hop_answer line(const smtp_rules& rules, std::string_view line);
    // The handshake is done: everything said before is forgotten (RFC 3207 section 4.2).
    void tls_started();

private:
    using what = next_hop_answer::what;
    [[nodiscard]] next_hop_answer answer(const smtp_rule* rule, std::string_view otherwise) const;
    [[nodiscard]] next_hop_answer hello(const smtp_rules& rules,
                                        std::string_view verb,
                                        std::string_view name);
    [[nodiscard]] next_hop_answer mail(const smtp_rules& rules, std::string_view argument);
    [[nodiscard]] next_hop_answer rcpt(const smtp_rules& rules, std::string_view argument);
    [[nodiscard]] next_hop_answer data(const smtp_rules& rules);
    [[nodiscard]] next_hop_answer content(const smtp_rules& rules, std::string_view line);
    void end_transaction();

    bool accept_data_;
    bool tls_ = false;
    bool lmtp_ = false;
    bool greeted_ = false;  // by EHLO, HELO or LHLO
    bool mail_given_ = false;
    bool in_content_ = false;
    std::size_t recipients_ = 0;  // accepted
    std::string sender_;
    std::string recipient_;
};

}  // namespace callforward::testing
