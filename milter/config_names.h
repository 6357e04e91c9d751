// What an operator may have meant who wrote a name that is none. A word that is only the nearest of
// all may say the opposite of what was meant, so that it is suggested only where little differs.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace callforward::milter {

// One of the names that is misspelt by one letter in three, or cut short, or means the same as the
// word of another program; "" when none is.
[[nodiscard]] std::string_view name_meant(std::string_view written,
                                          std::span<const std::string_view> names);

// "did you mean "x"?", or "it is one of: x, y".
[[nodiscard]] std::string advice_about_name(std::string_view written,
                                            std::span<const std::string_view> names);
// "did you mean "x"? (x, y)": of names that are few.
[[nodiscard]] std::string advice_with_all_names(std::string_view written,
                                                std::span<const std::string_view> names);

// The sections that have this key, "[policy]" or "[control] or [milter]"; "" when none has it.
[[nodiscard]] std::string sections_with_key(std::string_view key);

}  // namespace callforward::milter
