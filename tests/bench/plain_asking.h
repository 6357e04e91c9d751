// The least that it can cost to ask a next hop: a blocking connection of its own for each SMTP
// session, and for each recipient one write (MAIL, RCPT and RSET) and the reads for their replies.
//
// What no filter can be faster than, and none should be: no bound on connections, no timeout but
// ten seconds, nothing checked, shared or remembered. For the next hop of the measurements alone.
#pragma once

#include <string>
#include <string_view>

namespace callforward::bench {

class plain_asking {
public:
    plain_asking() = default;
    plain_asking(const plain_asking&) = delete;
    plain_asking& operator=(const plain_asking&) = delete;
    ~plain_asking();

    // route: "[127.0.3.1]:2525", as in {rcpt_host}. Whether the next hop accepts the recipient.
    [[nodiscard]] bool accepts(std::string_view route, std::string_view recipient);

private:
    [[nodiscard]] bool open(std::string_view route);
    [[nodiscard]] bool say(std::string_view commands);
    // Whether the next reply came, and is a 2xx.
    [[nodiscard]] bool heard_yes();

    int socket_ = -1;
    std::string heard_;  // not looked at yet
};

}  // namespace callforward::bench
