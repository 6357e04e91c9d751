#include "milter/envelope.h"

namespace callforward::milter {

namespace {

// Calls read() unless it was called for that text.
template <class Reading, class Read>
void read_once(Reading& last, const std::string& text, Read read) {
    if (last.is_read && last.text == text) return;
    last.is_read = false;
    read();
    last.text = text;
    last.is_read = true;
}

}  // namespace

const std::optional<dns::ip_address>& envelope::client() const {
    read_once(client_, client_address, [this] {
        client_.address = dns::ip_address::parse_literal(client_address);
    });
    return client_.address;
}

const envelope::sender_reading& envelope::read_sender() const {
    read_once(sender_, mail, [this] {
        sender_.is_mailbox = sender_.mailbox.assign(mail);
        sender_.from.clear();
        if (sender_.is_mailbox) {
            sender_.mailbox.append_address(sender_.from);
        } else {
            sender_.from = mail.empty() ? "<>" : mail;
        }
    });
    return sender_;
}

const smtpclient::mailbox* envelope::sender() const {
    const sender_reading& read = read_sender();
    return read.is_mailbox ? &read.mailbox : nullptr;
}

const std::string& envelope::from() const {
    return read_sender().from;
}

}  // namespace callforward::milter
