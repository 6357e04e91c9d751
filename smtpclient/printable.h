// Text from a peer, made safe to log and to repeat.
//
// printable(): every byte that is not printable ASCII becomes '?' (a run of line ends and tabs
// becomes one blank), and the result is cut to `limit` bytes. printable_utf8() keeps well-formed
// UTF-8 beyond ASCII, for logs that may carry it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace callforward::smtpclient {

[[nodiscard]] std::string printable(std::string_view untrusted, std::size_t limit = 1000);
[[nodiscard]] std::string printable_utf8(std::string_view untrusted, std::size_t limit = 1000);
void append_printable_utf8(std::string& to, std::string_view untrusted, std::size_t limit = 1000);

// ASCII only, independent of locale; SMTP keywords and domain names know no other case.
[[nodiscard]] std::string to_lower(std::string_view text);
// The same, into a buffer; returns how many bytes there are, at most `room`.
[[nodiscard]] std::size_t to_lower(std::string_view text, char* buffer, std::size_t room);
[[nodiscard]] bool equal_ignoring_case(std::string_view a, std::string_view b);
[[nodiscard]] bool contains_ignoring_case(std::string_view text, std::string_view lower_case_word);

}  // namespace callforward::smtpclient
