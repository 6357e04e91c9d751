// A next hop's own words, without its names and addresses, for the eyes of strangers.
//
// Names are taken out as whole words, in any case, with what was written around them to be about
// them: brackets, a port, the local part of an address at that host, an URL. Addresses are found in
// every spelling. What is not known to the verdict can not be found; a name that is a part of a
// longer one ("example.com" in "mx.example.com") is another name and stays.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace callforward::milter {

// text is printable ASCII; names are names and addresses, with or without brackets, untrusted.
[[nodiscard]] std::string without_names(std::string_view text,
                                        const std::vector<std::string>& names);

// Blanks at the ends and repeated blanks removed, and cut at a word to at most limit bytes.
[[nodiscard]] std::string squeezed(std::string_view text, std::size_t limit);

}  // namespace callforward::milter
