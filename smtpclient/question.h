// What is asked of a next hop, as plain values.
#pragma once

#include "smtpclient/classify.h"
#include "smtpclient/mailbox.h"
#include "smtpclient/next_hop.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::smtpclient {

// Postfix's levels (postconf(5), smtp_tls_security_level).
enum class tls_level { none, may, encrypt, dane, dane_only, fingerprint, verify, secure };
[[nodiscard]] std::string_view to_string(tls_level level);
[[nodiscard]] std::optional<tls_level> parse_tls_level(std::string_view name);
[[nodiscard]] const std::vector<std::string_view>& tls_level_names();

enum class tls_version { tls1_0, tls1_1, tls1_2, tls1_3 };

struct transport {  // how to speak, from the policy of a domain; the defaults are INTERFACE section
                    // 2's
    std::string helo;         // "": the caller's own host name
    std::uint16_t port = 25;  // for hops without one
    tls_level tls = tls_level::may;
    tls_version tls_min = tls_version::tls1_2;
    std::chrono::milliseconds timeout{60000};         // the whole call-forward
    std::chrono::milliseconds connect_timeout{5000};  // one address
    std::chrono::milliseconds reply_timeout{30000};   // one reply, from the first byte sent
    bool catch_all_probe = false;  // ask first whether the host accepts a random local part
    std::vector<classify_rule> rules;
};

struct mail_parameters {  // of the client's MAIL command, sent on only where the next hop offers
                          // the extension
    std::optional<std::uint64_t> size;  // RFC 1870
    std::string body;                   // RFC 6152, 3030: "7BIT", "8BITMIME", "BINARYMIME" or ""
    bool smtputf8 = false;              // RFC 6531

    auto operator<=>(const mail_parameters&) const = default;
};

struct destination {
    bool recipient_mx = false;   // MX of the recipient's domain; hops is then empty
    std::vector<next_hop> hops;  // tried in order

    [[nodiscard]] std::string text() const;  // canonical: "mx", or the hops joined by ","
    bool operator==(const destination&) const = default;
};

// Called with each line of the dialogue, without line end, secrets masked: 'C' what we say, 'S'
// what the next hop says (untrusted), '*' what happens beside the conversation (connect, TLS).
using trace = std::function<void(char side, std::string_view line)>;

struct question {
    std::string sender;  // reverse-path without brackets; "" is the null sender
    bool original_sender = true;
    mailbox recipient;
    mail_parameters parameters;
    destination to;
    // Shared with the policy it comes from, which a reload may drop while the question is under
    // way.
    std::shared_ptr<const transport> by;
    std::string helo;  // used when by->helo is ""
    std::chrono::steady_clock::time_point deadline;
    smtpclient::trace trace;  // may be empty
};

}  // namespace callforward::smtpclient
