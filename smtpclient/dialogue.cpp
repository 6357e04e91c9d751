#include "smtpclient/dialogue.h"

#include "dns/byte_set.h"
#include "smtpclient/local_rules.h"
#include "smtpclient/printable.h"

namespace callforward::smtpclient {

namespace {

// The address as this next hop can take it; nothing when only SMTPUTF8 could carry it.
std::optional<std::string> on_the_wire(const mailbox& address, const extensions& offered) {
    if (dns::ascii.contains_all_of(address.domain_part()) && address.local_part_is_ascii())
        return address.address();
    if (offered.smtputf8) return address.address();
    if (!address.local_part_is_ascii()) return std::nullopt;
    return address.local_part() + '@' + address.domain()->name();  // a literal is ASCII
}

conclusion needs_smtputf8(stage at) {
    return {{verdict_class::unreachable, reason::smtputf8},
            at,
            std::nullopt,
            "the address needs SMTPUTF8, which the next hop does not offer"};
}

}  // namespace

opening::opening(options o) : options_(std::move(o)) {}

step opening::start() {
    if (options_.protocol != protocol::smtps) return send{"", 1};
    stage_ = stage::handshake;
    return start_tls{};
}

step opening::on_handshake() {
    secured_ = true;
    if (options_.protocol == protocol::smtps && stage_ == stage::handshake) {
        stage_ = stage::greeting;
        return send{"", 1};
    }
    return greet();  // RFC 3207 section 4.2: all that was learned in clear is forgotten
}

step opening::greet() {
    offered_ = {};
    stage_ = stage::ehlo;
    const std::string verb = options_.protocol == protocol::lmtp ? "LHLO " : "EHLO ";
    return send{verb + helo_name() + "\r\n", 1};
}

// RFC 5321 section 4.2: the first word of both replies is the host's domain.
void opening::note_name(const reply& r) {
    const std::string_view line = r.lines.front();
    const auto name = dns::domain::parse(line.substr(0, line.find(' ')));
    if (name && name->name().find('.') != std::string::npos) peer_names_.push_back(name->name());
}

step opening::on_reply(const reply& r) {
    if (stage_ == stage::greeting || stage_ == stage::ehlo || stage_ == stage::helo) note_name(r);
    switch (stage_) {
        case stage::greeting:
            return on_greeting(r);
        case stage::ehlo:
            return on_ehlo(r);
        case stage::helo:
            return on_helo(r);
        case stage::starttls:
            return on_starttls(r);
        case stage::auth:
            return on_auth(r);
        case stage::xclient:
            return on_xclient(r);
        case stage::none:
        case stage::route:
        case stage::connect:
        case stage::handshake:
        case stage::mail:
        case stage::rcpt:
        case stage::data:
            break;
    }
    return conclusion{{verdict_class::unreachable, reason::protocol_error},
                      stage_,
                      r,
                      "a reply to nothing that was asked"};
}

step opening::fail(const reply& r) const {
    const reply_context context{stage_, true, {}};
    return conclusion{classify(r, context, options_.rules), stage_, r, {}};
}

step opening::on_greeting(const reply& r) {
    if (r.code != 220) return fail(r);
    return greet();
}

step opening::on_ehlo(const reply& r) {
    // Under STARTTLS it has just been accepted; with smtps this is the first.
    const bool first = !secured_ || options_.protocol == protocol::smtps;
    if (r.status_class() == 5 && options_.protocol != protocol::lmtp && first) {
        stage_ = stage::helo;  // RFC 5321 section 3.2
        return send{"HELO " + helo_name() + "\r\n", 1};
    }
    if (r.code != 250) return fail(r);  // 220 is the end of a greeting in two replies
    offered_ = parse_extensions(r);
    if (secured_ || options_.tls == tls_level::none) return introduce();
    if (!offered_.starttls) {
        return enough_or_insecure("the next hop does not offer STARTTLS", reason::tls_not_offered);
    }
    stage_ = stage::starttls;
    return send{"STARTTLS\r\n", 1};
}

step opening::on_helo(const reply& r) {
    if (r.code != 250) return fail(r);
    if (secured_) return introduce();
    return enough_or_insecure("the next hop refuses EHLO, so it can not offer STARTTLS",
                              reason::tls_not_offered);
}

step opening::on_starttls(const reply& r) {
    if (r.code == 220) {
        stage_ = stage::handshake;
        return start_tls{};
    }
    if (r.code == 421) return fail(r);
    // Under `may` the session goes on in clear; RFC 3207 section 4 leaves it intact after a
    // refusal.
    auto next =
        enough_or_insecure("STARTTLS was offered and refused: " + r.text(), reason::tls_failed);
    if (auto* const end = std::get_if<conclusion>(&next)) {
        const reply_context context{stage_, true, {}};
        const auto local = classify_locally(r, context, options_.rules);
        if (local) return conclusion{*local, stage_, r, std::move(end->detail)};
    }
    return next;
}

step opening::enough_or_insecure(std::string_view why, reason r) {
    const bool clear_will_do = options_.tls == tls_level::none || options_.tls == tls_level::may;
    if (clear_will_do && !options_.login.wanted()) return introduce();
    std::string detail(why);
    if (clear_will_do) detail += "; AUTH is done over TLS only";
    return conclusion{{verdict_class::insecure, r}, stage_, std::nullopt, std::move(detail)};
}

transaction::transaction(const question& q, const extensions& offered, ending after)
    : question_(q), offered_(offered), after_(after) {}

step transaction::start() {
    auto mail = mail_command();
    auto rcpt = rcpt_command();
    if (!mail || !rcpt) {
        result_ = needs_smtputf8(mail ? stage::rcpt : stage::mail);
        return *result_;
    }
    if (batches()) return say(*mail + *rcpt + "RSET\r\n", 3);
    if (offered_.pipelining) return say(*mail + *rcpt, 2);
    rcpt_ = std::move(*rcpt);
    return say(std::move(*mail));
}

// Whether RSET goes out behind MAIL and RCPT; not where DATA may come between them.
bool transaction::batches() const {
    return offered_.pipelining && after_ == ending::rset &&
           question_.by->probe_until == probe_end::rcpt;
}

step transaction::say(std::string bytes, std::size_t replies) {
    due_ += replies;
    return send{std::move(bytes), replies};
}

step transaction::on_reply(const reply& r) {
    if (due_ > 0) --due_;
    if (ends_) return on_end(r);
    if (stage_ == stage::data) return on_data(r);
    if (stage_ == stage::rcpt) return on_rcpt(r);
    if (r.status_class() != 2) conclude(r);
    // Without pipelining nothing follows a refused MAIL: no transaction has begun.
    if (result_ && !offered_.pipelining) return *result_;
    stage_ = stage::rcpt;
    if (offered_.pipelining) return await_more{};
    return say(std::move(rcpt_));
}

step transaction::on_rcpt(const reply& r) {
    if (!result_) conclude(r);  // after a refused MAIL the reply to RCPT says nothing
    const bool accepted = result_->finding.verdict_class == verdict_class::deliverable;
    if (!accepted || question_.by->probe_until == probe_end::rcpt) return leave();
    result_.reset();
    stage_ = stage::data;
    return say("DATA\r\n");
}

step transaction::on_data(const reply& r) {
    conclude(r);
    if (r.status_class() >= 4) return leave();
    // After 354 anything said would be content, RSET and QUIT as well.
    result_->hang_up = true;
    return *result_;
}

step transaction::leave() {
    if (after_ == ending::none) return *result_;
    ends_ = true;
    if (batches()) return await_more{};
    return say(after_ == ending::rset ? "RSET\r\n" : "QUIT\r\n");
}

step transaction::on_end(const reply& r) {
    const bool quits = after_ == ending::quit;
    // 250 to QUIT answers what was said before.
    if (quits ? r.code == 221 : r.status_class() == 2) {
        result_->hang_up = quits;
        return *result_;
    }
    return conclusion{{verdict_class::unreachable, reason::protocol_error},
                      stage_,
                      std::nullopt,
                      (quits ? "QUIT" : "RSET") + std::string(" was answered ") +
                          std::to_string(r.code) + ": replies out of step"};
}

void transaction::conclude(const reply& r) {
    const auto& domain = question_.recipient.domain();
    const reply_context context{stage_,
                                question_.original_sender,
                                domain ? std::string_view(domain->name()) : std::string_view{}};
    result_ = conclusion{classify(r, context, question_.by->rules), stage_, r, {}};
}

std::optional<std::string> transaction::mail_command() const {
    std::string command = "MAIL FROM:<";
    bool utf8 = question_.parameters.smtputf8 || !question_.recipient.local_part_is_ascii() ||
                !dns::ascii.contains_all_of(question_.recipient.domain_part());
    if (!question_.sender.empty()) {
        const auto sender = mailbox::parse(question_.sender);
        if (!sender) return std::nullopt;
        const auto address = on_the_wire(*sender, offered_);
        if (!address) return std::nullopt;
        utf8 = utf8 || !dns::ascii.contains_all_of(*address);
        command += *address;
    }
    command += '>';
    const auto& parameters = question_.parameters;
    if (offered_.size && parameters.size) command += " SIZE=" + std::to_string(*parameters.size);
    const bool body_offered =
        parameters.body == "BINARYMIME" ? offered_.binary_mime : offered_.eight_bit_mime;
    if (!parameters.body.empty() && body_offered) command += " BODY=" + parameters.body;
    if (utf8 && offered_.smtputf8) command += " SMTPUTF8";
    return command + "\r\n";
}

std::optional<std::string> transaction::rcpt_command() const {
    const auto address = on_the_wire(question_.recipient, offered_);
    if (!address) return std::nullopt;
    return "RCPT TO:<" + *address + ">\r\n";
}

}  // namespace callforward::smtpclient
