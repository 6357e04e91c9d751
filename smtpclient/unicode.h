// What spellings of one text have in common, for texts in UTF-8 (RFC 6532 section 3.1).
//
// For keys and comparisons only: what is sent to a next hop stays as it was written. Text that is
// not well-formed UTF-8 is given back as it is, and equals itself alone. The only file that knows
// libunistring. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

namespace callforward::smtpclient {

// In Normalization Form C.
[[nodiscard]] std::string composed(std::string_view text);
// With letter case folded as well.
[[nodiscard]] bool equal_apart_from_form(std::string_view a, std::string_view b);

}  // namespace callforward::smtpclient
