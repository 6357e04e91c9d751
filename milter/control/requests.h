// What the control socket's requests say, read: bodies and parameters, as values. Pure.
//
// All of it is untrusted, though it comes from this machine. A body is one JSON object; fields that
// nobody knows are passed over, and one of another type is as if it were not there. What cannot be
// done is nothing, with what to say instead in `problem`, printable. Bodies are bounded by who
// takes them in; lists have at most 50000 addresses.
#pragma once

#include "milter/explain_request.h"
#include "smtpclient/mailbox.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::milter::control {

struct forgetting {
    std::optional<smtpclient::mailbox> recipient;
    std::string domain;  // valid and lower case; instead of a recipient
    std::string text;    // as it was asked, untrusted
};
[[nodiscard]] std::optional<forgetting> read_forgetting(std::string_view body,
                                                        std::string& problem);

struct address_list {
    struct bad_address {
        std::size_t index;
        std::string text;  // printable
    };
    std::vector<smtpclient::mailbox> addresses;
    std::vector<bad_address> bad;
};
[[nodiscard]] std::optional<address_list> read_address_list(std::string_view body,
                                                            std::string& problem);

struct explanation_wanted {
    std::string id;         // of a decision that was made; "": about
    explain_request about;  // a recipient
};
[[nodiscard]] std::optional<explanation_wanted> read_explanation_wanted(std::string_view body,
                                                                        std::string& problem);

// A page's beginning as a client hands it back: hexadecimal, because keys are bytes; at most 64.
[[nodiscard]] std::string to_hex(std::string_view bytes);
[[nodiscard]] std::optional<std::string> from_hex(std::string_view untrusted);

// `otherwise` for what is no number.
[[nodiscard]] std::size_t number_or(std::string_view untrusted, std::size_t otherwise);

}  // namespace callforward::milter::control
