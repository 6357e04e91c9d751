#include "smtpclient/question.h"

namespace callforward::smtpclient {

bool tells_of_client(const question& q) {
    return q.client && (q.by->xclient || q.by->proxy_protocol);
}

std::string session_owner(const question& q) {
    return tells_of_client(q) ? q.client->key() : std::string{};
}

std::string destination::text() const {
    std::string joined;
    append_text(joined);
    return joined;
}

void destination::append_text(std::string& to) const {
    if (recipient_mx) {
        to += "mx";
        return;
    }
    bool first = true;
    for (const auto& hop : hops) {
        if (!std::exchange(first, false)) to += ',';
        smtpclient::append_text(to, hop);
    }
}

}  // namespace callforward::smtpclient
