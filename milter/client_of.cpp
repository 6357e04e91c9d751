#include "milter/client_of.h"

#include <charconv>

namespace callforward::milter {

std::optional<smtpclient::client_identity> client_of(const envelope& e,
                                                     const smtpclient::transport& by) {
    if (!by.xclient && !by.proxy_protocol) return std::nullopt;
    if (!e.client()) return std::nullopt;
    smtpclient::client_identity who;
    who.address = *e.client();
    const std::string& port = e.client_port;
    std::uint16_t number = 0;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (error == std::errc{} && end == port.data() + port.size()) who.port = number;
    who.name = e.client_name;
    who.helo = e.client_helo;
    // Only EHLO makes parameters possible; without one it may have been either.
    who.extended = !e.mail_parameters.empty();
    return who;
}

}  // namespace callforward::milter
