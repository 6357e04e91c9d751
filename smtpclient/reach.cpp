#include "smtpclient/reach.h"

#include "dns/hosts_file.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

namespace callforward::smtpclient {

namespace {

constexpr const char* hosts_file = "/etc/hosts";

std::optional<dns::domain> system_name() {
    std::array<char, 256> name{};
    if (gethostname(name.data(), name.size() - 1) != 0) return std::nullopt;
    return dns::domain::parse(name.data());
}

std::string full_name_of(const dns::domain& system) {
    std::optional<dns::domain> full;
    if (system.name().find('.') == std::string::npos) {
        full = dns::full_name_in_hosts_file(hosts_file, system);
    }
    return full ? full->name() : system.name();
}

}  // namespace

std::string own_host_name() {
    const auto name = system_name();
    return name ? full_name_of(*name) : "localhost";
}

reach this_host() {
    reach r;
    r.hosts_file = hosts_file;
    if (const auto name = system_name()) r.my_names = {name->name(), full_name_of(*name)};
    ifaddrs* interfaces = nullptr;
    if (getifaddrs(&interfaces) != 0) return r;
    const auto loopback = {dns::network::parse("127.0.0.0/8"), dns::network::parse("::1")};
    for (const ifaddrs* i = interfaces; i != nullptr; i = i->ifa_next) {
        if (i->ifa_addr == nullptr) continue;
        dns::ip_address address;
        if (i->ifa_addr->sa_family == AF_INET) {
            sockaddr_in four{};
            std::memcpy(&four, i->ifa_addr, sizeof four);
            dns::ip_address::bytes_v4 bytes{};
            std::memcpy(bytes.data(), &four.sin_addr, bytes.size());
            address = dns::ip_address(bytes);
        } else if (i->ifa_addr->sa_family == AF_INET6) {
            sockaddr_in6 six{};
            std::memcpy(&six, i->ifa_addr, sizeof six);
            dns::ip_address::bytes_v6 bytes{};
            std::memcpy(bytes.data(), &six.sin6_addr, bytes.size());
            address = dns::ip_address(bytes);
        } else {
            continue;
        }
        if (std::none_of(loopback.begin(), loopback.end(), [&](const auto& n) {
                return n->contains(address);
            })) {
            r.my_addresses.insert(address);
        }
    }
    freeifaddrs(interfaces);
    return r;
}

std::vector<dns::network> default_deny() {
    std::vector<dns::network> networks;
    for (const auto* const text :
         {"127.0.0.0/8", "::1/128", "0.0.0.0/8", "169.254.0.0/16", "fe80::/10", "224.0.0.0/4"}) {
        networks.push_back(*dns::network::parse(text));
    }
    return networks;
}

}  // namespace callforward::smtpclient
