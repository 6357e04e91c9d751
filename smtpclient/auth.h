// AUTH PLAIN and LOGIN as text (RFC 4954, RFC 4616): what is sent, and what of it nobody may see.
//
// The dialogue does AUTH over TLS only. A secret is masked wherever a line of the conversation is
// shown: as it is, and in each form in which it is sent, so that a next hop that repeats it shows
// nothing either.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace callforward::smtpclient {

struct credentials {
    std::string username;  // "": no AUTH
    std::string password;
    std::string password_file;  // where it was read from, for those who print a configuration

    [[nodiscard]] bool wanted() const { return !username.empty(); }
    bool operator==(const credentials&) const = default;
};

[[nodiscard]] std::string base64(std::string_view bytes);
// The response of PLAIN, in base64; the identity to act as is left to the server.
[[nodiscard]] std::string plain_response(const credentials& c);

// The line with "****" for each secret in it.
[[nodiscard]] std::string without_secrets(std::string_view line, const credentials& c);
// Shows only such lines; empty where shown is empty.
[[nodiscard]] std::function<void(char, std::string_view)> without_secrets(
    std::function<void(char, std::string_view)> shown, const credentials& c);

}  // namespace callforward::smtpclient
