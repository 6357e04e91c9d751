// What is asked of a next hop, as plain values.
#pragma once

#include "dns/ip.h"
#include "smtpclient/auth.h"
#include "smtpclient/classify.h"
#include "smtpclient/client_identity.h"
#include "smtpclient/mailbox.h"
#include "smtpclient/next_hop.h"
#include "smtpclient/tls_policy.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callforward::smtpclient {

// How far a recipient is asked for. data: as far as the reply to DATA; then the connection is
// dropped, before any content.
enum class probe_end { rcpt, data };

struct transport {  // how to speak, from the policy of a domain; the defaults are INTERFACE section
                    // 2's
    std::string helo;         // "": the caller's own host name
    std::uint16_t port = 25;  // for hops without one
    tls_policy tls;
    std::chrono::milliseconds timeout{60000};         // the whole call-forward
    std::chrono::milliseconds connect_timeout{5000};  // one address
    std::chrono::milliseconds reply_timeout{30000};   // one reply, from the first byte sent
    bool catch_all_probe = false;  // ask first whether the host accepts a random local part
    std::vector<classify_rule> rules;
    // How the caller shows itself.
    std::optional<std::string> sender_fallback;  // for a sender that is refused; "": the null one
    credentials login;
    // At most one of each family; where there is none the system chooses.
    std::vector<dns::ip_address> source_addresses;
    bool xclient = false;         // where the next hop offers it
    bool proxy_protocol = false;  // a header before all else, on every connection
    probe_end probe_until = probe_end::rcpt;
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
    void append_text(std::string& to) const;
    bool operator==(const destination&) const = default;
};

// Called with each line of the dialogue, without line end, secrets masked: 'C' what we say, 'S'
// what the next hop says (untrusted), '*' what happens beside the conversation (connect, TLS).
using trace = std::function<void(char side, std::string_view line)>;

using dialogue_lines = std::vector<std::pair<char, std::string>>;  // as a trace is told them

struct question {
    std::uint64_t id = 0;  // of who asks, for logs; 0: nobody in particular
    std::string sender;    // reverse-path without brackets; "" is the null sender
    bool original_sender = true;
    mailbox recipient;
    mail_parameters parameters;
    destination to;
    // Shared with the policy it comes from, which a reload may drop while the question is under
    // way.
    std::shared_ptr<const transport> by;
    std::string helo;  // the MTA's own name, used when by->helo is "", and known among MX hosts
    // Who asks us; told to next hops that by->xclient or by->proxy_protocol says so of.
    std::optional<client_identity> client;
    std::chrono::steady_clock::time_point deadline;
    smtpclient::trace trace;  // may be empty
    // Chosen for this recipient alone, where its domain's others are asked elsewhere or otherwise.
    bool in_its_own_way = false;
    bool dry = false;  // looked up only: nobody is connected to, and the verdict says nothing
};

// Whether a next hop is told of q.client.
[[nodiscard]] bool tells_of_client(const question& q);
// A session that a next hop was told a client of is that client's alone. "": anybody's.
[[nodiscard]] std::string session_owner(const question& q);

}  // namespace callforward::smtpclient
