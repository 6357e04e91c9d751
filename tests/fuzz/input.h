// A fuzzer's bytes, taken apart into values from the front. When they run out everything is 0 or
// "", so that any input is an input.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace callforward::fuzz {

class input {
public:
    input(const std::uint8_t* data, std::size_t size)
        : rest_(reinterpret_cast<const char*>(data), size) {}

    [[nodiscard]] bool empty() const { return rest_.empty(); }
    [[nodiscard]] std::string_view rest() const { return rest_; }
    std::uint8_t byte() {
        if (rest_.empty()) return 0;
        const auto b = static_cast<std::uint8_t>(rest_.front());
        rest_.remove_prefix(1);
        return b;
    }
    bool flag() { return (byte() & 1U) != 0; }
    unsigned below(unsigned limit) { return byte() % limit; }
    template <class Enum>
    Enum one_of(Enum last) {  // of an enum that begins at 0
        return static_cast<Enum>(below(static_cast<unsigned>(last) + 1));
    }
    // Up to a NUL, which is taken too: readable in a stored input.
    std::string_view text() {
        const auto end = std::min(rest_.find('\0'), rest_.size());
        const std::string_view taken = rest_.substr(0, end);
        rest_.remove_prefix(std::min(end + 1, rest_.size()));
        return taken;
    }

private:
    std::string_view rest_;
};

[[nodiscard]] inline bool is_printable_line(std::string_view text) {
    for (const char c : text) {
        if (c < ' ' || c > '~') return false;
    }
    return true;
}

}  // namespace callforward::fuzz
