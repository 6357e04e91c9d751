// A mailbox that may be sent in a RCPT or MAIL command (RFC 5321 section 4.1.2, RFC 6531
// section 3.3).
//
// parse() is the gate between what an SMTP client wrote and what we write to a next hop: nothing
// that could end the command early passes it. More lenient than the grammar where real mailboxes
// are: dots may lead, trail or repeat in a local part, and a local part may be longer than 64
// bytes. A source route ("<@a,@b:user@c>") is removed (RFC 5321 section 4.1.1.3), letter case and
// quoting of the local part are kept.
#pragma once

#include "dns/domain.h"
#include "dns/ip.h"

#include <optional>
#include <string>
#include <string_view>

namespace callforward::smtpclient {

class mailbox {
public:
    static constexpr std::size_t longest =
        500;  // bytes; a RCPT line has 512 (RFC 5321 section 4.5.3.1.4)

    // With or without angle brackets. Needs a domain.
    [[nodiscard]] static std::optional<mailbox> parse(std::string_view untrusted);
    // The same, in the memory that this one has; when false it is as if newly made.
    [[nodiscard]] bool assign(std::string_view untrusted);
    // A local part alone, such as <Postmaster> (RFC 5321 section 4.1.1.3): a user of whichever MTA
    // is told it, here at that MTA's loopback address. Nothing for what has a domain.
    [[nodiscard]] static std::optional<mailbox> parse_local_user(std::string_view untrusted);

    [[nodiscard]] const std::string& local_part() const { return local_part_; }  // quoted as given
    [[nodiscard]] const std::string& domain_part() const {
        return domain_part_;
    }  // as given; "[...]" for a literal
    [[nodiscard]] const std::optional<dns::domain>& domain() const {
        return domain_;
    }  // unless a literal
    [[nodiscard]] const std::optional<dns::ip_address>& literal() const { return literal_; }
    [[nodiscard]] std::string address() const { return local_part_ + '@' + domain_part_; }
    void append_address(std::string& to) const;
    // Local part as given, but in Normalization Form C; domain in lower case A-labels: what two
    // spellings of one mailbox have in common.
    [[nodiscard]] std::string key() const;
    // The domain of that, or a literal as given.
    [[nodiscard]] std::string_view domain_key() const {
        return domain_ ? domain_->name() : domain_part_;
    }
    [[nodiscard]] bool local_part_is_ascii() const;

    bool operator==(const mailbox&) const = default;

private:
    [[nodiscard]] bool read(std::string_view untrusted);
    void clear();

    std::string local_part_;
    std::string domain_part_;
    std::optional<dns::domain> domain_;
    std::optional<dns::ip_address> literal_;
};

// "" for the null reverse-path, the mailbox's address otherwise; nothing when it is neither.
[[nodiscard]] std::optional<std::string> parse_reverse_path(std::string_view untrusted);

}  // namespace callforward::smtpclient
