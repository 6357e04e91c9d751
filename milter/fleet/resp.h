// What is said to Redis and what it says (RESP, version 2), as bytes and values. The only file that
// knows hiredis, and of it only the formatter and the parser.
//
// Replies are untrusted: one takes at most 1 MiB of input and has at most 64 elements, none of them
// nested deeper than four; anything else, and anything that is no RESP, is malformed, and the
// reader is of no further use. Errors are values like others. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::milter::fleet {

struct resp_value {
    enum class type : std::uint8_t { nil, text, status, error, integer, array };

    type is = type::nil;
    std::string text;  // of text, status and error
    std::int64_t number = 0;
    std::vector<resp_value> elements;

    [[nodiscard]] bool is_text() const { return is == type::text; }
    [[nodiscard]] bool is_error() const { return is == type::error; }
    // The first word of an error: "NOAUTH", "WRONGTYPE"; "" for anything else.
    [[nodiscard]] std::string_view error_code() const;
};

// The words of an error, printable and bounded.
[[nodiscard]] std::string shown_error(const resp_value& error);

using replies = std::vector<resp_value>;

// One command, ready to be sent; several are sent one after another.
[[nodiscard]] std::string resp_command(const std::vector<std::string_view>& words);

class resp_reader {
public:
    static constexpr std::size_t largest_reply = 1U << 20U;
    static constexpr std::size_t most_elements = 64;

    resp_reader();
    ~resp_reader();
    resp_reader(const resp_reader&) = delete;
    resp_reader& operator=(const resp_reader&) = delete;

    enum class progress : std::uint8_t { incomplete, complete, malformed };
    void feed(std::string_view untrusted);
    // complete: `into` has the next reply; ask again for the one after it.
    [[nodiscard]] progress next(resp_value& into);
    [[nodiscard]] const std::string& why() const { return why_; }  // malformed; printable

private:
    struct parser;
    std::unique_ptr<parser> parser_;
    std::size_t since_reply_ = 0;  // bytes fed after the last complete reply
    std::string why_;
};

}  // namespace callforward::milter::fleet
