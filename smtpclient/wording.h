// What the text of a refusal speaks of, for the classification table (classify.h).
//
// Words are only ever evidence against a recipient being unknown: they turn "undeliverable" into
// something less, never the other way round. Lists come from the texts of Postfix, Exim, Sendmail,
// Exchange, Microsoft 365, Google, qmail and the common gateways; English only. The recipient's
// domain and all addresses are taken out first: a reply may repeat them, and "spam@" or
// "blockchain.example" is evidence of nothing.
#pragma once

#include "smtpclient/reply.h"

#include <string>
#include <string_view>

namespace callforward::smtpclient {

class wording {
public:
    wording(const reply& r, std::string_view recipient_domain);

    // Enough to doubt a bare 550: the client, the sender, the content, the route, or a failure.
    [[nodiscard]] bool of_policy() const;
    // Plain enough to doubt even an enhanced code that speaks of the recipient.
    [[nodiscard]] bool of_another_cause() const;
    [[nodiscard]] bool of_the_sender() const;
    [[nodiscard]] bool of_the_client() const;
    [[nodiscard]] bool of_authentication() const;
    [[nodiscard]] bool of_greylisting() const;
    [[nodiscard]] bool of_throttling() const;
    [[nodiscard]] bool of_a_full_mailbox() const;
    [[nodiscard]] bool of_message_size() const;
    [[nodiscard]] bool of_relaying() const;

private:
    std::string words_;                // lower case
    bool has_code_of_policy_ = false;  // "(#5.7.1)" anywhere, as qmail writes it
};

}  // namespace callforward::smtpclient
