#include "milter/verdicts/key.h"

#include "smtpclient/unicode.h"

#include <string>

namespace callforward::milter::verdicts {

namespace {

// What a digest is of comes first: no digest of one kind equals one of another.
enum class kind : std::uint64_t { place, sender, declared, domain };

digester begin(kind of, const hash_seed& seed) {
    digester d(seed);
    d.add(static_cast<std::uint64_t>(of));
    return d;
}

void add(digester& d, const dns::ip_address& address) {
    d.add(std::uint64_t{address.is_v4()});
    const auto bytes = address.v6();
    d.add_bytes({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

void add(digester& d, const smtpclient::next_hop& hop) {
    d.add(static_cast<std::uint64_t>(hop.protocol));
    d.add(hop.host);
    d.add(std::uint64_t{hop.address.has_value()});
    if (hop.address) add(d, *hop.address);
    d.add(hop.socket_path);
    d.add(std::uint64_t{hop.port});
    d.add(std::uint64_t{hop.look_up_mx});
}

void add(digester& d, const smtpclient::destination& to) {
    d.add(std::uint64_t{to.recipient_mx});
    if (to.recipient_mx) return;
    d.add(std::uint64_t{to.hops.size()});
    for (const auto& hop : to.hops) add(d, hop);
}

void add(digester& d, const smtpclient::mailbox& recipient) {
    if (recipient.local_part_is_ascii()) {
        d.add(recipient.local_part());
    } else {
        d.add(smtpclient::composed(recipient.local_part()));
    }
    d.add(std::uint64_t{recipient.domain().has_value()});
    if (recipient.domain()) {
        d.add(recipient.domain()->name());
    } else if (recipient.literal()) {
        add(d, *recipient.literal());
    }
}

void add_sender(digester& d, std::string_view address) {
    const auto at = address.rfind('@');
    d.add(address.substr(0, at));
    if (at != std::string_view::npos) d.add_lower_case(address.substr(at));
}

// A next hop that is told of the client may answer another one otherwise; but not for another port.
void add(digester& d, const smtpclient::client_identity& client) {
    add(d, client.address);
    d.add(client.name);
    d.add(client.helo);
}

// Where is asked, and under which policy. An MTA has few routes, and each has many recipients: it
// is hashed again only when it is another than at this thread's last question.
class place {
public:
    const digest& of(const smtpclient::destination& to,
                     std::string_view fingerprint,
                     const hash_seed& seed) {
        if (is_known_ && seed == seed_ && fingerprint == fingerprint_ && to == to_) return digest_;
        is_known_ = false;  // so that without memory nothing half copied is believed
        to_ = to;
        fingerprint_ = fingerprint;
        seed_ = seed;
        digester d = begin(kind::place, seed);
        add(d, to);
        d.add(fingerprint);
        digest_ = d.finish();
        is_known_ = true;
        return digest_;
    }

private:
    bool is_known_ = false;
    smtpclient::destination to_;
    std::string fingerprint_;
    hash_seed seed_;
    digest digest_;
};

// As good as a digest of both: nobody who lacks the key knows either, or can choose it.
digest together(const digest& a, const digest& b) {
    return {a.first ^ b.first, a.second ^ b.second};
}

std::uint32_t tag(digester& d) {
    return static_cast<std::uint32_t>(d.finish().first);
}

}  // namespace

digest key_of_declared(const smtpclient::mailbox& recipient, const hash_seed& seed) {
    digester d = begin(kind::declared, seed);
    add(d, recipient);
    return d.finish();
}

std::uint32_t tag_of_domain(std::string_view lower_case, const hash_seed& seed) {
    digester d = begin(kind::domain, seed);
    d.add(lower_case);
    return tag(d);
}

recipient_tags tags_of(const smtpclient::mailbox& recipient, const hash_seed& seed) {
    recipient_tags tags;
    tags.address = key_of_declared(recipient, seed).first;
    if (recipient.domain()) tags.domain = tag_of_domain(recipient.domain()->name(), seed);
    return tags;
}

recipient_key::recipient_key(const smtpclient::question& q,
                             std::string_view fingerprint,
                             const hash_seed& seed)
    : declared_(key_of_declared(q.recipient, seed)) {
    thread_local place last;
    recipient_only_ = together(declared_, last.of(q.to, fingerprint, seed));
}

question_key::question_key(const smtpclient::question& q,
                           std::string_view fingerprint,
                           const hash_seed& seed)
    : question_key(recipient_key(q, fingerprint, seed), q, seed) {}

question_key::question_key(const recipient_key& whom,
                           const smtpclient::question& q,
                           const hash_seed& seed)
    : recipient_key(whom) {
    tags_.address = declared().first;
    if (q.recipient.domain()) tags_.domain = tag_of_domain(q.recipient.domain()->name(), seed);

    digester sender = begin(kind::sender, seed);
    sender.add(recipient_only());
    add_sender(sender, q.sender);
    sender.add(std::uint64_t{q.original_sender});  // the same refusal is of another class
    sender.add(std::uint64_t{q.parameters.size.has_value()});
    sender.add(q.parameters.size.value_or(0));
    sender.add(q.parameters.body);
    sender.add(std::uint64_t{q.parameters.smtputf8});
    if (smtpclient::tells_of_client(q)) add(sender, *q.client);
    with_sender_ = sender.finish();
}

}  // namespace callforward::milter::verdicts
