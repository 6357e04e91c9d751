// SMTP replies: one value, and the incremental parser that makes it (RFC 5321 section 4.2).
//
// Limits: a line is kept up to 2,048 bytes (the rest of a longer line is read and dropped, up to
// the size of a reply), a reply up to 64 KiB and 128 lines. A line ends with LF; one CR before it
// belongs to the ending, any other CR or a NUL stays in the untrusted text. What is no reply (no
// three digits of 2..5, 0..5, 0..9; another code in the same reply; too much) is malformed, and
// nothing after it can be believed: the session has to be dropped. All text is untrusted until
// printable() has seen it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::smtpclient {

struct enhanced_code {  // RFC 3463
    int status_class = 0;
    int subject = 0;
    int detail = 0;

    auto operator<=>(const enhanced_code&) const = default;
};
[[nodiscard]] std::string to_string(const enhanced_code& code);
void append_text(std::string& to, const enhanced_code& code);
// The code at the beginning of text ("5.1.1 no such user"); removes it, and the blanks after it,
// from text.
[[nodiscard]] std::optional<enhanced_code> take_enhanced_code(std::string_view& text);

struct reply {
    int code = 0;
    std::vector<std::string>
        lines;  // untrusted, without code, separator and line end; at least one

    [[nodiscard]] int status_class() const { return code / 100; }
    [[nodiscard]] std::optional<enhanced_code> enhanced() const;  // of the first line
    // All lines as one printable line, without the enhanced code that each may repeat.
    [[nodiscard]] std::string text() const;

    bool operator==(const reply&) const = default;
};

class reply_parser {
public:
    static constexpr std::size_t line_limit = 2048;
    static constexpr std::size_t size_limit = std::size_t{64} * 1024;
    static constexpr std::size_t lines_limit = 128;

    enum class progress { needs_more, complete, malformed };

    // Consumes from the front of input, at most up to the end of one reply; what follows stays in
    // input.
    progress feed(std::string_view& input);
    [[nodiscard]] reply take();  // after complete; the parser is then ready for the next reply
    [[nodiscard]] const std::string& why() const { return why_; }  // after malformed

private:
    progress finish_line();
    progress reject(std::string why);

    reply reply_;
    std::string line_;
    std::string why_;
    std::size_t size_ = 0;
};

}  // namespace callforward::smtpclient
