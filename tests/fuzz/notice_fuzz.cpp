// What comes over the channel between edges: what is taken could have been sent, and is sent the
// same again.
#include "milter/fleet/notice.h"

#include <cstdlib>

using namespace callforward::milter::fleet;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto heard = parse_notice({reinterpret_cast<const char*>(data), size});
    if (!heard) return 0;
    constexpr unsigned day = 86400;
    if (heard->edge.empty() || heard->edge.find(' ') != std::string::npos) std::abort();
    if (heard->seconds > day) std::abort();
    const std::string text = to_text(*heard);
    const auto again = parse_notice(text);
    if (!again || to_text(*again) != text) std::abort();
    if (again->what != heard->what || again->edge != heard->edge) std::abort();
    if (again->seconds != heard->seconds || again->name != heard->name) std::abort();
    return 0;
}
