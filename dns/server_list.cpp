#include "dns/server_list.h"

#include "dns/ip.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace callforward::dns {

std::optional<std::string> normal_server(std::string_view text) {
    std::string_view host = text;
    std::string_view port = "53";
    if (const auto bracket = text.rfind(']'); text.starts_with('[') && bracket != text.npos) {
        host = text.substr(1, bracket - 1);
        const std::string_view rest = text.substr(bracket + 1);
        if (!rest.empty() && rest.front() != ':') return std::nullopt;
        if (!rest.empty()) port = rest.substr(1);
    } else if (std::count(text.begin(), text.end(), ':') == 1) {
        host = text.substr(0, text.find(':'));
        port = text.substr(text.find(':') + 1);
    }
    const std::optional<ip_address> address = ip_address::parse(host);
    std::uint16_t number = 0;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (!address || error != std::errc{} || end != port.data() + port.size() || number == 0)
        return std::nullopt;
    const std::string name = address->is_v4() ? address->text() : "[" + address->text() + "]";
    return name + ":" + std::to_string(number);
}

std::string server_list(const std::vector<std::string>& servers) {
    std::string out;
    for (const std::string& server : servers) {
        const std::optional<std::string> normal = normal_server(server);
        if (!normal)
            throw std::runtime_error("DNS server \"" + server +
                                     "\" is not understood: write an address, as in "
                                     "\"127.0.0.1:53\" or \"[::1]:53\"");
        out += (out.empty() ? "" : ",") + *normal;
    }
    return out;
}

bool all_on_loopback(std::string_view list) {
    static const auto four = network::parse("127.0.0.0/8");
    static const auto six = network::parse("::1");
    while (!list.empty()) {
        std::string_view server = list.substr(0, list.find(','));
        list.remove_prefix(std::min(list.size(), server.size() + 1));
        server = server.substr(0, server.rfind(':'));
        if (server.starts_with('[')) server = server.substr(1, server.size() - 2);
        const auto address = ip_address::parse(server);
        if (!address || !(four->contains(*address) || six->contains(*address))) return false;
    }
    return true;
}

}  // namespace callforward::dns
