// Which bytes a text may be made of, as a table: for what is looked at with each RCPT.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace callforward::dns {

class byte_set {
public:
    // Every byte from first to last, and those of `more`.
    constexpr byte_set(char first, char last, std::string_view more = {}) {
        for (unsigned c = index(first); c <= index(last); ++c) table_[c] = true;
        for (const char c : more) table_[index(c)] = true;
    }
    [[nodiscard]] constexpr byte_set without(std::string_view bytes) const {
        byte_set less = *this;
        for (const char c : bytes) less.table_[index(c)] = false;
        return less;
    }
    [[nodiscard]] constexpr bool contains(char c) const { return table_[index(c)]; }
    [[nodiscard]] constexpr bool contains_all_of(std::string_view text) const {
        return std::all_of(text.begin(), text.end(), [this](char c) { return contains(c); });
    }

private:
    static constexpr unsigned index(char c) { return static_cast<unsigned char>(c); }

    std::array<bool, 256> table_{};
};

inline constexpr byte_set ascii('\0', '\x7f');
inline constexpr byte_set printable_ascii(' ', '~');

}  // namespace callforward::dns
