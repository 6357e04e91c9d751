/// @file
/// Ask the server that would get the mail whether it takes this recipient: an SMTP call-forward
/// that ends before DATA (RFC 5321).
///
/// The answer is a value, never an exception: outcome, reason, and the next hop's reply as
/// evidence. Only a reply to RCPT, the absence of the domain, or an impossible address makes a
/// recipient undeliverable; all else is undetermined, and no reason to refuse mail. Exceptions:
/// std::invalid_argument, which names the argument, for what can not be asked, and
/// std::runtime_error for what this process can not have (threads, DNS servers). Strings that came
/// from a peer are printable UTF-8 of at most 1,000 bytes. All functions may be called from any
/// thread. The structs are plain values: a new field is a new SOVERSION.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// Marks what the shared library exports.
#define CALLFORWARD_API __attribute__((visibility("default")))

/// The library; see callforward(3).
namespace callforward {

/// What is asked, and how. Only rcptto must be set.
struct query_options {
    std::string rcptto;    ///< The recipient, without brackets.
    std::string mailfrom;  ///< The sender; "" or "<>" is the null sender.
    /// Whom to ask: "" for the mail exchangers of the recipient's domain, a host name for its
    /// mail exchangers, "[host]" or an address as it is, "unix:/path" for an LMTP socket; prefixes
    /// "smtp:", "smtps:" (TLS from the first byte) and "lmtp:".
    std::string host;
    std::uint16_t port = 0;                    ///< 0: 25, or 24 for LMTP.
    std::chrono::milliseconds timeout{60000};  ///< Bound on the whole call; at most a day.
    std::string helo;                          ///< The name in EHLO; "": this host's, in full.
    bool lmtp = false;                         ///< Speak LMTP (RFC 2033).
    /// As in Postfix: "none", "may", "encrypt", "dane", "dane-only", "fingerprint", "verify" or
    /// "secure".
    std::string tls = "may";
    /// What the certificate must be for, with "verify" and "secure": host names, ".example.com"
    /// for the sub-domains of it, "hostname", "nexthop", "dot-nexthop". None: the name of the host
    /// for "verify", that of the domain and its sub-domains for "secure".
    std::vector<std::string> tls_match;
    /// SHA-256 of certificates or of their public keys, in hexadecimal, with colons or without;
    /// "fingerprint" needs one that is the server's.
    std::vector<std::string> tls_fingerprints;
    /// A PEM file of the authorities to trust; "": the system's. It is read at each call, before
    /// anybody is asked.
    std::string tls_ca_file;
    /// Where connections come from: an address of this host, at most one of each family.
    std::vector<std::string> source_address;
    /// Called with each line of the dialogue, without line end, secrets masked: 'C' what we say,
    /// 'S' what the next hop says, '*' what happens beside it. On the calling thread; must not
    /// throw. Not for sessions, whose connections belong to many calls: they call it never.
    std::function<void(char side, std::string_view line)> trace;
};

/// Whether the recipient takes mail.
enum class outcome {
    deliverable,    ///< A 2xx to RCPT.
    undeliverable,  ///< Refused for good, for a reason that is about the recipient.
    undetermined    ///< Everything else; ask again later.
};

/// "deliverable", "undeliverable" or "undetermined".
[[nodiscard]] CALLFORWARD_API std::string_view to_string(outcome o) noexcept;

/// The TLS session that the answer came over.
struct tls_session {
    std::string version;    ///< "TLSv1.3"
    std::string cipher;     ///< OpenSSL's name of the cipher suite.
    bool verified = false;  ///< The server's certificate was verified.
    std::string by;         ///< What it was verified by; "" when it was not.
};

/// The fields of `callforward query --json`; what is not known is empty.
struct query_result {
    std::string rcptto;                                    ///< As asked.
    std::string mailfrom;                                  ///< As asked; "" is the null sender.
    callforward::outcome outcome = outcome::undetermined;  ///< The answer.
    std::string reason;              ///< One word; the list is in callforward-milter(8), ANSWERS.
    std::string stage;               ///< Where the conversation was decided: "connect", "rcpt", ...
    std::optional<int> code;         ///< Of the reply that decided it.
    std::string enhanced;            ///< Its enhanced status code, "5.1.1".
    std::string text;                ///< Its text in one line, or else what went wrong.
    std::string host;                ///< The name of the host asked, or its address.
    std::string address;             ///< The address connected to.
    std::uint16_t port = 0;          ///< The port connected to; 0 for none.
    std::optional<tls_session> tls;  ///< Nothing without TLS.
    std::vector<std::string> mx;     ///< Hosts in the order they are tried, where MX led.
    std::chrono::milliseconds elapsed{0};  ///< How long it took.
};

/// Asks, waits, answers within options.timeout and a few milliseconds.
///
/// Makes and runs an event loop of its own on the calling thread; nothing is left behind, so that
/// it may be used before and after fork().
[[nodiscard]] CALLFORWARD_API query_result query(const query_options& options);

/// "unknown_user: 550 5.1.1 No such user", "connect_failed: Connection refused": reason, code and
/// text in one line, for logs and error messages.
[[nodiscard]] CALLFORWARD_API std::string describe(const query_result& result);

/// How a session treats each next hop, and whom it asks for addresses. Times beyond a day are taken
/// as a day, negative ones as 0.
struct session_options {
    std::size_t connections_per_host = 20;  ///< At most; begins at 4 and adapts. 0: no limit.
    std::chrono::milliseconds idle{10000};  ///< A connection is kept this long. 0: not at all.
    std::size_t recipients_per_connection = 100;  ///< Then a new one. 0: no limit.
    /// An address that could not be reached is left alone this long. 0: not at all.
    std::chrono::milliseconds host_penalty{60000};
    std::vector<std::string> dns_servers;         ///< "127.0.0.1:53"; empty: resolv.conf.
    std::chrono::milliseconds dns_timeout{5000};  ///< For one DNS question.
};

/// Many calls on one event loop, which keeps connections and shares them between calls.
///
/// Owns one thread. The destructor gives up what is under way and destroys its completions
/// uncalled. Not for use on both sides of fork(): make it after. resolv.conf and the addresses of
/// this host are read when it is made: after a change there, make another.
class session {
public:
    /// Called once with the result, on the session's thread; must neither throw nor wait. The
    /// exception is null unless this process ran out of something.
    using completion = std::function<void(std::exception_ptr, query_result)>;

    /// Starts the thread; throws std::runtime_error when that, or a DNS server, can not be had.
    CALLFORWARD_API explicit session(const session_options& options = {});
    CALLFORWARD_API ~session();
    session(const session&) = delete;
    session& operator=(const session&) = delete;

    /// As the free function, and waits; not to be called by a completion.
    [[nodiscard]] CALLFORWARD_API query_result query(const query_options& options);
    /// All of them side by side; results in the order of the questions. The time that one waits for
    /// a connection counts as its own. When one can not be asked, throws before any is.
    [[nodiscard]] CALLFORWARD_API std::vector<query_result> query_many(
        const std::vector<query_options>& options);
    /// Begins a call and returns at once; throws std::invalid_argument at once, too.
    CALLFORWARD_API void start(const query_options& options, completion done);

private:
    friend CALLFORWARD_API session& shared_session();
    struct implementation;
    std::unique_ptr<implementation> implementation_;
};

/// The one of the process that async_query() uses where none is named. Made at first use with the
/// default options; its thread ends with the process.
[[nodiscard]] CALLFORWARD_API session& shared_session();

/// Of the library that is loaded, "0.1.0".
[[nodiscard]] CALLFORWARD_API const char* library_version() noexcept;

}  // namespace callforward
