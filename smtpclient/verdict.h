// What a call-forward came to, in the field's words. A value; never an exception, never a bare
// bool.
//
// Three outcomes; class and reason say which action follows, stage and reply are the evidence. The
// most important line of the program is kept here: only a reply to RCPT (or DATA), the absence of
// the domain, or an impossible address may make a verdict undeliverable. classify.h and
// call_forward.h make verdicts; nothing else invents one.
#pragma once

#include "smtpclient/reply.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::smtpclient {

enum class outcome { deliverable, undeliverable, undetermined };

enum class verdict_class {
    deliverable,
    undeliverable,
    sender_refused,  // the original sender was refused
    deferred,        // 4xx to RCPT
    refused,         // 5xx that is about us
    unreachable,     // no usable answer
    insecure,        // the TLS level can not be met
    skipped,         // not asked at all
};

enum class reason {
    accepted,
    catch_all,
    unknown_user,
    disabled,
    moved,
    mailbox_full,
    no_such_domain,
    null_mx,
    bad_address,
    sender_refused,
    deferred,
    greylisted,
    throttled,
    client_refused,
    auth_required,
    policy,
    dns_unavailable,
    connect_failed,
    timed_out,
    disconnected,
    protocol_error,
    no_usable_host,
    loop,
    host_penalty,
    overloaded,
    smtputf8,  // an address that only RFC 6531 can carry, to a host without it
    tls_not_offered,
    tls_failed,
    certificate,
    dane_failed,
    not_in_scope,
    exempt,
    local,
    alias,
    off,
};

enum class stage {
    none,
    route,
    connect,
    greeting,
    ehlo,
    helo,
    starttls,
    handshake,
    auth,
    xclient,
    mail,
    rcpt,
    data
};

[[nodiscard]] std::string_view to_string(outcome o);
[[nodiscard]] std::string_view to_string(verdict_class c);
[[nodiscard]] std::string_view to_string(reason r);
[[nodiscard]] std::string_view to_string(stage s);
[[nodiscard]] std::optional<reason> parse_reason(std::string_view name);
[[nodiscard]] std::optional<stage> parse_stage(std::string_view name);
// For "nearest valid name" advice in configuration errors.
[[nodiscard]] const std::vector<std::string_view>& reason_names();
[[nodiscard]] const std::vector<std::string_view>& stage_names();

struct finding {  // the verdict's core, as the classification table gives it
    smtpclient::verdict_class verdict_class = verdict_class::unreachable;
    smtpclient::reason reason = reason::protocol_error;

    bool operator==(const finding&) const = default;
};
// The class a reason has when it says all (mailbox_full, deferred and sender_refused have two: see
// classify.h).
[[nodiscard]] verdict_class usual_class(reason r);

struct tls_summary {
    std::string version;  // "TLSv1.3"
    std::string cipher;
    bool verified = false;
    std::string by;          // what it was verified by; "" when it was not
    std::string unproven{};  // why it would not have been, where that is only watched; printable
};

struct verdict {
    smtpclient::finding finding;
    smtpclient::stage stage = stage::none;
    std::optional<smtpclient::reply> reply;  // the next hop's, untrusted
    std::string detail;                      // our own words for the log; printable
    std::string host;                        // the next hop's name, or address where it has none
    std::string address;                     // the one connected to; "" if none was
    std::uint16_t port = 0;
    std::optional<tls_summary> tls;
    std::vector<std::string>
        next_hop_names;           // all names and addresses seen on the way: not told to clients
    std::vector<std::string> mx;  // hosts in the order they would be tried, when MX was looked up
    // Nobody was asked about this recipient: what was found out before (catch_all) holds so long.
    std::optional<std::chrono::seconds> found_before{};

    [[nodiscard]] smtpclient::outcome outcome() const;
};

// True when another sender would have got the same answer (2xx, 5.1.x about the recipient, 5.2.1,
// no such domain).
[[nodiscard]] bool about_recipient_alone(const verdict& v);

}  // namespace callforward::smtpclient
