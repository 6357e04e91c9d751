// Addresses and networks in text: what is read is written so that it is read again, and a network
// holds an address however that is spelt.
#include "dns/domain.h"
#include "dns/ip.h"
#include "tests/fuzz/input.h"

#include <cstdlib>

using namespace callforward::dns;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    callforward::fuzz::input in(data, size);
    const std::string_view first = in.text();
    const std::string_view second = in.text();
    const auto address = ip_address::parse(first);
    const auto literal = ip_address::parse_literal(first);
    if (address && literal != address) std::abort();
    if (address && ip_address::parse(address->text()) != address) std::abort();
    const auto net = network::parse(second);
    if (net && network::parse(net->text()) != net) std::abort();
    if (net && !net->contains(net->base())) std::abort();
    if (net && net->prefix_length() > (net->base().is_v4() ? 32U : 128U)) std::abort();
    if (address && net && address->is_v4()) {
        const auto mapped = ip_address::parse("::ffff:" + address->text());
        if (!mapped || net->contains(*mapped) != net->contains(*address)) std::abort();
    }
    const auto name = domain::parse(first);
    if (!name) return 0;
    if (domain::parse(name->name()) != name || name->name().size() > 253) std::abort();
    for (const char c : name->name()) {
        const bool known =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
        if (!known) std::abort();
    }
    return 0;
}
