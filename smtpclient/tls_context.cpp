#include "smtpclient/tls_context.h"

#include "smtpclient/certificate.h"
#include "smtpclient/pem.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

namespace callforward::smtpclient {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t most_sessions = 8;  // of one destination
constexpr std::chrono::hours longest_trust{1};

int protocol_number(tls_version version) {
    switch (version) {
        case tls_version::tls1_0:
            return TLS1_VERSION;
        case tls_version::tls1_1:
            return TLS1_1_VERSION;
        case tls_version::tls1_2:
            return TLS1_2_VERSION;
        case tls_version::tls1_3:
            return TLS1_3_VERSION;
    }
    return TLS1_2_VERSION;
}

[[noreturn]] void fail(const std::string& what) {
    std::array<char, 256> text{};
    ERR_error_string_n(ERR_get_error(), text.data(), text.size());
    ERR_clear_error();
    throw std::runtime_error(what + ": " + text.data());
}

std::vector<pem::x509> certificates_of(const pem_file& file) {
    std::vector<pem::x509> all;
    const pem::bio from = pem::reader(file.text());
    while (pem::x509 next{PEM_read_bio_X509(from.get(), nullptr, pem::no_passphrase, nullptr)})
        all.push_back(std::move(next));
    ERR_clear_error();  // the end of the text is an error to OpenSSL
    if (all.empty()) fail(file.path() + " holds no certificate");
    return all;
}

// Whether a certificate may have to come from a CA: reading the system's takes longer than many a
// call-forward.
bool may_verify_chains(const tls_policy& policy) {
    return policy.mta_sts || policy.level == tls_level::verify || policy.level == tls_level::secure;
}

void trust(SSL_CTX* context, const tls_policy& policy) {
    if (!may_verify_chains(policy)) return;
    if (!policy.authorities.is_given()) {
        // A folder that OpenSSL looks into when it needs an issuer, or a file.
        SSL_CTX_set_default_verify_paths(context);
        ERR_clear_error();
        return;
    }
    X509_STORE* const store = SSL_CTX_get_cert_store(context);
    for (const auto& each : certificates_of(policy.authorities)) {
        X509_STORE_add_cert(store, each.get());
    }
}

void identify(SSL_CTX* context, const tls_policy& policy) {
    if (!policy.certificate.is_given()) return;
    const auto chain = certificates_of(policy.certificate);
    if (SSL_CTX_use_certificate(context, chain.front().get()) != 1) fail(policy.certificate.path());
    for (std::size_t i = 1; i < chain.size(); ++i) {
        if (SSL_CTX_add1_chain_cert(context, chain[i].get()) != 1) fail(policy.certificate.path());
    }
    const pem_file& file = policy.key.is_given() ? policy.key : policy.certificate;
    const pem::bio from = pem::reader(file.text());
    const pem::private_key key{
        PEM_read_bio_PrivateKey(from.get(), nullptr, pem::no_passphrase, nullptr)};
    if (!key || SSL_CTX_use_PrivateKey(context, key.get()) != 1) fail(file.path());
}

// Where the handshake that an SSL belongs to is found.
int handshake_index() {
    static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
}

std::string name_of(tls_demand::proof by) {
    switch (by) {
        case tls_demand::proof::none:
            return {};
        case tls_demand::proof::ca:
            return "ca";
        case tls_demand::proof::fingerprint:
            return "fingerprint";
        case tls_demand::proof::dane:
            return "dane";
    }
    return {};
}

bool is_one_of(const std::vector<std::string>& wanted, const std::string& found) {
    return std::find(wanted.begin(), wanted.end(), found) != wanted.end();
}

// Whatever their order: DNS servers turn it.
std::string digest_of(const std::vector<dns::tlsa>& records) {
    std::vector<std::string> texts;
    for (const auto& record : records) {
        std::string text;
        for (const std::uint8_t field : {record.usage, record.selector, record.matching})
            text += static_cast<char>(field);
        texts.push_back(sha256_of(text.append(record.data.begin(), record.data.end())));
    }
    std::sort(texts.begin(), texts.end());
    std::string all;
    for (const auto& text : texts) all += text;
    return sha256_of(all);
}

std::string list_of(const std::vector<std::string>& names) {
    std::string text;
    for (const auto& name : names) text += (text.empty() ? "" : " or ") + name;
    return text;
}

}  // namespace

void tls_context::freeing::operator()(SSL_CTX* context) const {
    SSL_CTX_free(context);
}

void tls_sessions::freeing::operator()(SSL_SESSION* session) const {
    SSL_SESSION_free(session);
}

std::string tls_context::key_of(const tls_policy& policy) {
    std::string key(to_string(policy.least));
    if (may_verify_chains(policy)) key += "|ca " + policy.authorities.digest();
    for (const pem_file* file : {&policy.certificate, &policy.key}) key += '|' + file->digest();
    return key;
}

tls_context::tls_context(const tls_policy& policy)
    : context_(SSL_CTX_new(TLS_client_method())),
      allows_old_versions_(policy.least < tls_version::tls1_2) {
    SSL_CTX* const native = context_.get();
    if (native == nullptr) fail("TLS cannot start");
    SSL_CTX_set_min_proto_version(native, protocol_number(policy.least));
    // Without verification a weak certificate or key exchange still beats sending in clear.
    SSL_CTX_set_cipher_list(native, "DEFAULT:@SECLEVEL=0");
    // Many servers close without close_notify; what was read before stays good.
    SSL_CTX_set_options(native, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
    // The handshake goes through in any case; judge() looks at what came of the verification, and
    // so can say what was wrong.
    SSL_CTX_set_verify(native, SSL_VERIFY_NONE, nullptr);
    SSL_CTX_set_session_cache_mode(
        native, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR);
    if (SSL_CTX_dane_enable(native) != 1) fail("DANE cannot start");
    SSL_CTX_sess_set_new_cb(native, &tls_handshake::on_new_session);
    trust(native, policy);
    identify(native, policy);
}

std::string tls_demand::text() const {
    if (only_watched) return "watched " + list_of(names);
    switch (by) {
        case proof::none:
            return "none";
        case proof::ca:
            return "ca " + authorities + ' ' + list_of(names);
        case proof::fingerprint:
            return "fingerprint " + list_of(fingerprints);
        case proof::dane:
            return "dane " + server_name + ' ' + list_of(names) + ' ' + digest_of(records);
    }
    return {};
}

void tls_sessions::keep(entry e) {
    if (entries_.size() == most_sessions) entries_.pop_front();
    entries_.push_back(std::move(e));
}

tls_sessions::entry tls_sessions::take(const std::string& demand, time_point now) {
    std::erase_if(entries_, [&](const entry& e) {
        return now - e.proven_at >= longest_trust || SSL_SESSION_is_resumable(e.session.get()) != 1;
    });
    const auto last = std::find_if(
        entries_.rbegin(), entries_.rend(), [&](const entry& e) { return e.demand == demand; });
    if (last == entries_.rend()) return {};
    entry taken{nullptr, last->demand, last->proven_at};
    if (SSL_SESSION_get_protocol_version(last->session.get()) >= TLS1_3_VERSION) {
        taken.session = std::move(last->session);
        entries_.erase(std::next(last).base());
    } else {
        SSL_SESSION_up_ref(last->session.get());
        taken.session.reset(last->session.get());
    }
    return taken;
}

tls_handshake::tls_handshake(const tls_context& context,
                             tls_demand demand,
                             std::shared_ptr<tls_sessions> sessions)
    : demand_(std::move(demand)),
      demand_text_(demand_.text()),
      sessions_(std::move(sessions)),
      proven_at_(clock::now()),
      ssl_(SSL_new(context.native())) {
    if (ssl_ == nullptr) fail("TLS cannot start");
    SSL_set_ex_data(ssl_, handshake_index(), this);
    const bool proves = demand_.by != tls_demand::proof::none && !demand_.only_watched;
    // A key that anybody can compute proves nothing.
    if (proves && !context.allows_old_versions()) SSL_set_security_level(ssl_, 1);
    if (!demand_.server_name.empty()) {
        // What the macro SSL_set_tlsext_host_name does, without its C cast.
        SSL_ctrl(ssl_,
                 SSL_CTRL_SET_TLSEXT_HOSTNAME,
                 TLSEXT_NAMETYPE_host_name,
                 demand_.server_name.data());
    }
    apply_demand();
    if (!sessions_) return;
    const auto before = sessions_->take(demand_text_, proven_at_);
    if (before.session && SSL_set_session(ssl_, before.session.get()) == 1)
        proven_at_ = before.proven_at;
}

tls_handshake::~tls_handshake() {
    SSL_set_ex_data(ssl_, handshake_index(), nullptr);
    // Without this OpenSSL would take the session for one that was broken off, and not resume it.
    if (met_) SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl_);
}

void tls_handshake::apply_demand() {
    switch (demand_.by) {
        case tls_demand::proof::none:
        case tls_demand::proof::fingerprint:
            break;
        case tls_demand::proof::ca:
            SSL_set_hostflags(ssl_, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
            for (const auto& name : demand_.names) SSL_add1_host(ssl_, name.c_str());
            break;
        case tls_demand::proof::dane:
            apply_records();
            break;
    }
}

// What cannot be applied is noticed by judge(): without a record nothing matches.
void tls_handshake::apply_records() {
    SSL_set_hostflags(ssl_, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (SSL_dane_enable(ssl_, demand_.server_name.c_str()) != 1) return;
    SSL_dane_set_flags(ssl_, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
    for (const auto& name : demand_.names) SSL_add1_host(ssl_, name.c_str());
    for (const auto& r : demand_.records) {
        (void)SSL_dane_tlsa_add(
            ssl_, r.usage, r.selector, r.matching, r.data.data(), r.data.size());
    }
    ERR_clear_error();
}

SSL* tls_handshake::native_for_stream() {
    SSL_up_ref(ssl_);
    return ssl_;
}

int tls_handshake::on_new_session(SSL* ssl, SSL_SESSION* session) {
    auto* const self = static_cast<tls_handshake*>(SSL_get_ex_data(ssl, handshake_index()));
    if (self == nullptr || !self->sessions_) return 0;
    self->keep(tls_sessions::session_ptr(session));
    return 1;  // the reference is ours
}

void tls_handshake::keep(tls_sessions::session_ptr session) {
    if (met_) {
        sessions_->keep({std::move(session), demand_text_, proven_at_});
    } else if (early_.size() < most_sessions) {
        early_.push_back(std::move(session));
    }
}

std::string tls_handshake::fault() const {
    const long verified = SSL_get_verify_result(ssl_);
    switch (demand_.by) {
        case tls_demand::proof::none:
            return {};
        case tls_demand::proof::ca: {
            if (demand_.names.empty())
                return "the next hop has no name that a certificate could be for; \"tls_match\" "
                       "can give one";
            const bool shown = SSL_get0_peer_certificate(ssl_) != nullptr;
            if (verified == X509_V_OK && shown) return {};
            return why_not_accepted(*ssl_, verified) + "; wanted is one for " +
                   list_of(demand_.names) + " from a CA of " + demand_.authorities;
        }
        case tls_demand::proof::fingerprint: {
            const X509* const shown = SSL_get0_peer_certificate(ssl_);
            if (shown == nullptr) return "the next hop showed no certificate";
            const std::string whole = fingerprint_of(*shown);
            const std::string key = public_key_fingerprint_of(*shown);
            if (is_one_of(demand_.fingerprints, whole) || is_one_of(demand_.fingerprints, key))
                return {};
            return "the certificate has fingerprint " + with_colons(whole) + ", its public key " +
                   with_colons(key) + "; wanted is one of \"tls_fingerprints\"";
        }
        case tls_demand::proof::dane:
            // A certificate that was found good without the records, if that could be, proves
            // nothing here.
            if (verified == X509_V_OK && SSL_get0_dane_authority(ssl_, nullptr, nullptr) >= 0)
                return {};
            return why_not_accepted(*ssl_, verified) + "; wanted by " +
                   std::to_string(demand_.records.size()) + " TLSA record(s) of " +
                   demand_.server_name;
    }
    return {};
}

tls_handshake::result tls_handshake::judge() {
    result r;
    r.summary.version = SSL_get_version(ssl_);
    r.summary.cipher = SSL_get_cipher_name(ssl_);
    r.resumed = SSL_session_reused(ssl_) == 1;
    if (!r.resumed) proven_at_ = clock::now();
    if (demand_.only_watched) {
        r.summary.unproven = fault();
    } else if (!r.resumed) {  // that was found good when it began, by this very demand
        r.fault = fault();
    }
    met_ = r.fault.empty();
    if (demand_.by == tls_demand::proof::dane) r.reason = reason::dane_failed;
    r.wrong_name = !met_ && SSL_get_verify_result(ssl_) == X509_V_ERR_HOSTNAME_MISMATCH;
    if (!met_) return r;
    if (!demand_.only_watched) {
        r.summary.verified = demand_.by != tls_demand::proof::none;
        r.summary.by = name_of(demand_.by);
    }
    for (auto& session : std::exchange(early_, {})) keep(std::move(session));
    return r;
}

}  // namespace callforward::smtpclient
