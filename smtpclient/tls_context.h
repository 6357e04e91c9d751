// TLS towards next hops: contexts, what one connection demands, and sessions to resume. OpenSSL,
// without connections: smtpclient/connection drives the handshake.
//
// A certificate is looked at only where the demand says so, and then before anything is sent under
// TLS. A session is resumed only for the demand that it once fulfilled, for an hour at most after
// the certificate was seen, and within one destination. Names are matched as OpenSSL does: a
// wildcard stands for the left-most label, the common name counts only where there is no DNS name
// (RFC 6125). Owner and thread: one event loop thread.
#pragma once

#include "dns/answer.h"
#include "smtpclient/tls_policy.h"
#include "smtpclient/verdict.h"

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <vector>

extern "C" {
struct ssl_st;
struct ssl_ctx_st;
struct ssl_session_st;
}

namespace callforward::smtpclient {

// Shared by all connections made with the same files and the same lowest version.
class tls_context {
public:
    // Throws std::runtime_error when the policy's files are none that OpenSSL takes; they were
    // checked when they were read.
    explicit tls_context(const tls_policy& policy);
    [[nodiscard]] static std::string key_of(const tls_policy& policy);

    [[nodiscard]] ssl_ctx_st* native() const { return context_.get(); }
    // Below TLS 1.2 nothing works at OpenSSL's security level 1.
    [[nodiscard]] bool allows_old_versions() const { return allows_old_versions_; }

private:
    struct freeing {
        void operator()(ssl_ctx_st* context) const;
    };
    std::unique_ptr<ssl_ctx_st, freeing> context_;
    bool allows_old_versions_;
};

struct tls_demand {  // what one connection must fulfil
    enum class proof { none, ca, fingerprint, dane };

    proof by = proof::none;
    bool only_watched = false;  // what is not met is no fault, but said in the summary
    std::string server_name;    // for SNI; "": none is sent. Under dane the TLSA base domain
    // ca, and dane with usage 2: one of them; ".example.com" for sub-domains
    std::vector<std::string> names;
    std::string authorities;                // ca: whose, in words
    std::vector<std::string> fingerprints;  // fingerprint: one of them
    std::vector<dns::tlsa> records;         // dane: usable ones, and at least one

    [[nodiscard]] std::string text() const;
};

// Sessions of one destination, to be resumed.
class tls_sessions {
public:
    using time_point = std::chrono::steady_clock::time_point;
    struct freeing {
        void operator()(ssl_session_st* session) const;
    };
    using session_ptr = std::unique_ptr<ssl_session_st, freeing>;
    struct entry {
        session_ptr session;
        std::string demand;    // tls_demand::text()
        time_point proven_at;  // when the certificate was seen
    };

    void keep(entry e);
    // One that fulfilled this demand; no session when there is none. Those of TLS 1.3 are used
    // once (RFC 8446 appendix C.4).
    [[nodiscard]] entry take(const std::string& demand, time_point now);

private:
    std::deque<entry> entries_;
};

// One handshake: made before it, asked after it, kept as long as the connection, because tickets
// come later.
class tls_handshake {
public:
    // Sessions may be nothing; shared with the destination, which may be gone before its last
    // connection has said goodbye.
    tls_handshake(const tls_context& context,
                  tls_demand demand,
                  std::shared_ptr<tls_sessions> sessions);
    ~tls_handshake();
    tls_handshake(const tls_handshake&) = delete;
    tls_handshake& operator=(const tls_handshake&) = delete;

    // With a reference for who takes it.
    [[nodiscard]] ssl_st* native_for_stream();

    struct result {
        tls_summary summary;
        bool resumed = false;
        smtpclient::reason reason = reason::certificate;  // when there is a fault
        std::string fault;        // why the demand is not met; "" when it is
        bool wrong_name = false;  // and that the certificate is another name's is all
    };
    // After the handshake has succeeded.
    [[nodiscard]] result judge();

private:
    static int on_new_session(ssl_st* ssl, ssl_session_st* session);
    friend class tls_context;
    void apply_demand();
    void apply_records();
    [[nodiscard]] std::string fault() const;
    void keep(tls_sessions::session_ptr session);

    tls_demand demand_;
    std::string demand_text_;
    std::shared_ptr<tls_sessions> sessions_;
    tls_sessions::time_point proven_at_;
    std::vector<tls_sessions::session_ptr> early_;  // came before the demand was met
    bool met_ = false;
    ssl_st* ssl_;
};

}  // namespace callforward::smtpclient
