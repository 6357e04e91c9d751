// A configuration file and its way back: no crash, and what was accepted is accepted again.
#include "milter/config.h"

#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (text.find('@') != text.npos || text.find("0040") != text.npos) return 0;  // opens files
    try {
        const auto once = callforward::milter::parse_settings(text, "fuzz.toml");
        const std::string shown = callforward::milter::to_toml(once);
        const auto twice = callforward::milter::parse_settings(shown, "shown.toml");
        if (callforward::milter::to_toml(twice) != shown) std::abort();
    } catch (const callforward::milter::config_error&) {
    }
    return 0;
}
