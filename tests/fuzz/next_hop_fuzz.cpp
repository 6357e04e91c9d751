// Next hops as an MTA's macros and a configuration name them: the canonical text is read back.
#include "smtpclient/next_hop.h"

#include <cstdint>
#include <cstdlib>

namespace smtpclient = callforward::smtpclient;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    std::string error;
    const auto hop = smtpclient::parse_next_hop(text, error);
    if (hop.has_value() != error.empty()) std::abort();
    for (const char c : error) {
        if (c < ' ' || c > '~') std::abort();
    }
    if (hop && smtpclient::parse_next_hop(smtpclient::to_string(*hop), error) != hop) std::abort();
    return 0;
}
