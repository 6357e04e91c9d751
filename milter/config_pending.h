// Keys and values of the contract (INTERFACE section 2) that this release does not act on yet.
//
// They are known and their type is checked; the default is accepted, because it says what happens
// anyway, and anything else is refused rather than ignored. A release that fills one in deletes its
// row.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace callforward::milter {

enum class pending_type { text, flag, integer, duration, list };

struct pending_key {
    std::string_view section;
    std::string_view key;
    pending_type type;
    std::string_view default_value;  // "" for an empty list
};

[[nodiscard]] const std::vector<pending_key>& pending_keys();
[[nodiscard]] const pending_key* find_pending(std::string_view section, std::string_view key);
[[nodiscard]] std::vector<std::string_view> pending_names(std::string_view section);

// True for a value of a key that is otherwise acted on: [policy] tls = "dane", a Redis store.
[[nodiscard]] bool is_pending_value(std::string_view section,
                                    std::string_view key,
                                    std::string_view value);

constexpr std::string_view not_yet = "is not yet available in this release";

}  // namespace callforward::milter
