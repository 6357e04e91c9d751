#include "milter/decision.h"

#include "dns/ip.h"
#include "milter/redaction.h"
#include "smtpclient/printable.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <vector>

namespace callforward::milter {

using smtpclient::finding;
using smtpclient::reason;
using smtpclient::verdict_class;

namespace {

constexpr std::size_t longest_text = 400;
constexpr std::size_t longest_reply = 4000;  // of which text is made

action action_for(verdict_class c, const policy& p) {
    switch (c) {
        case verdict_class::undeliverable:
            return p.on_undeliverable;
        case verdict_class::sender_refused:
            return p.on_sender_refused;
        case verdict_class::deferred:
            return p.on_deferred;
        case verdict_class::refused:
            return p.on_refused;
        case verdict_class::unreachable:
            return p.on_unreachable;
        case verdict_class::insecure:
            return p.on_insecure;
        case verdict_class::deliverable:
        case verdict_class::skipped:
            return action::accept;
    }
    return action::accept;
}

// How a server speaks that has found this out by itself; the class is still to agree with the
// action. RFC 3463 and the registry of enhanced codes.
struct own_words {
    smtpclient::reason reason;
    int code;
    int subject;
    int detail;
    std::string_view text;
};

// Before a text that begins in lower case.
constexpr std::string_view not_verified = "Recipient address could not be verified: ";

constexpr std::array words{
    own_words{reason::accepted, 250, 1, 5, "Recipient address accepted"},
    own_words{reason::catch_all, 250, 1, 5, "Recipient address accepted"},
    own_words{reason::unknown_user, 550, 1, 1, "Recipient address rejected: user unknown"},
    own_words{reason::disabled, 550, 2, 1, "Recipient address rejected: mailbox disabled"},
    own_words{reason::moved, 551, 1, 6, "Recipient address rejected: user has moved"},
    own_words{reason::mailbox_full, 552, 2, 2, "Recipient address rejected: mailbox full"},
    own_words{reason::no_such_domain, 550, 1, 2, "Recipient address rejected: domain not found"},
    own_words{reason::null_mx, 556, 1, 10, "Recipient address rejected: domain accepts no mail"},
    own_words{reason::bad_address, 553, 1, 3, "Recipient address rejected: not a valid address"},
    own_words{reason::sender_refused, 550, 7, 1, "Sender address rejected by the next hop"},
    own_words{reason::deferred, 450, 2, 0, "Recipient address deferred by the next hop"},
    own_words{reason::greylisted, 450, 7, 1, "Recipient address greylisted by the next hop"},
    own_words{reason::throttled, 450, 4, 5, "Recipient address deferred: next hop is busy"},
    own_words{reason::client_refused, 554, 7, 1, "next hop refused to answer"},
    own_words{reason::auth_required, 554, 7, 0, "next hop refused to answer"},
    own_words{reason::policy, 554, 7, 1, "Recipient address refused by policy of the next hop"},
    own_words{reason::dns_unavailable, 451, 4, 1, "domain name look-up failed"},
    own_words{reason::connect_failed, 451, 4, 1, "next hop unreachable"},
    own_words{reason::timed_out, 451, 4, 1, "next hop gave no answer in time"},
    own_words{reason::disconnected, 451, 4, 1, "next hop closed the connection"},
    own_words{reason::protocol_error, 451, 4, 1, "next hop gave no usable answer"},
    own_words{reason::no_usable_host, 451, 4, 1, "no usable next hop"},
    own_words{reason::smtputf8, 451, 4, 1, "next hop takes no internationalized address"},
    own_words{reason::loop, 451, 4, 1, "mail for it loops back"},
    own_words{reason::host_penalty, 451, 4, 1, "next hop unreachable"},
    own_words{reason::overloaded, 451, 3, 2, "too many verifications under way"},
    own_words{reason::tls_not_offered, 451, 7, 5, "no secure connection to next hop"},
    own_words{reason::tls_failed, 451, 7, 5, "no secure connection to next hop"},
    own_words{reason::certificate, 451, 7, 5, "no secure connection to next hop"},
    own_words{reason::dane_failed, 451, 7, 5, "no secure connection to next hop"},
    own_words{reason::not_in_scope, 250, 1, 5, "Recipient address not verified"},
    own_words{reason::exempt, 250, 1, 5, "Recipient address not verified"},
    own_words{reason::local, 250, 1, 5, "Recipient address not verified"},
    own_words{reason::alias, 250, 1, 5, "Recipient address not verified"},
    own_words{reason::off, 250, 1, 5, "Recipient address not verified"},
};

// Some reasons mean less in another class: a reply before RCPT is no answer about the recipient.
own_words words_for(const finding& f) {
    const auto found = std::find_if(
        words.begin(), words.end(), [&](const own_words& w) { return w.reason == f.reason; });
    own_words w = found != words.end() ? *found : own_words{f.reason, 451, 4, 1, ""};
    const bool usual = smtpclient::usual_class(f.reason) == f.verdict_class;
    switch (f.verdict_class) {
        case verdict_class::unreachable:
            if (!usual) w = {f.reason, 451, 4, 1, "next hop not available"};
            break;
        case verdict_class::insecure:
            if (!usual) w = {f.reason, 451, 7, 5, "no secure connection to next hop"};
            break;
        case verdict_class::deferred:
            w.code = f.reason == reason::mailbox_full ? 452 : 450;
            break;
        case verdict_class::refused:
            w.code = 554;
            break;
        case verdict_class::deliverable:
        case verdict_class::undeliverable:
        case verdict_class::sender_refused:
        case verdict_class::skipped:
            break;
    }
    return w;
}

// The tempfail that says the same; 530 or 503 of a next hop are about its talk with us.
int tempfail_code(int code) {
    if (code >= 400 && code <= 459 && code != 421) return code;  // 421 would end the session
    switch (code) {
        case 550:
        case 553:
        case 556:
            return 450;
        case 552:
            return 452;
        default:
            return 451;
    }
}

// The reject that says the same. Not 551 for 451: that is "user not local, please try ...".
int reject_code(int code) {
    if (code >= 500 && code <= 559) return code;
    switch (code) {
        case 450:
            return 550;
        case 452:
            return 552;
        case 454:
        case 455:
            return code + 100;
        default:
            return 554;
    }
}

// The recipient's own domain is the sender's word, and no secret: a reply may repeat it.
bool is_of_recipient(const std::string& name, const smtpclient::mailbox& recipient) {
    std::string_view bare = name;
    if (bare.ends_with('.')) bare.remove_suffix(1);
    if (recipient.domain() && smtpclient::equal_ignoring_case(bare, recipient.domain()->name())) {
        return true;
    }
    if (smtpclient::equal_ignoring_case(bare, recipient.domain_part())) return true;
    return recipient.literal() && recipient.literal() == dns::ip_address::parse_literal(bare);
}

// What a next hop said, or a script that may repeat it, for the client's eyes.
std::string told_text(const std::string& said,
                      const smtpclient::verdict& v,
                      const smtpclient::mailbox* recipient) {
    std::vector<std::string> names = v.next_hop_names;
    names.insert(names.end(), v.mx.begin(), v.mx.end());
    names.push_back(v.host);
    names.push_back(v.address);
    if (recipient != nullptr) {
        std::erase_if(names, [&](const auto& name) { return is_of_recipient(name, *recipient); });
    }
    const std::string line = squeezed(smtpclient::printable(said, longest_reply), longest_reply);
    return squeezed(without_names(line, names), longest_text);
}

bool says_something(std::string_view text) {
    return std::any_of(text.begin(), text.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    });
}

}  // namespace

smtpclient::enhanced_code default_enhanced_code(const finding& f, int status_class) {
    const own_words w = words_for(f);
    return {status_class, w.subject, w.detail};
}

std::string sentence(const finding& f, action a) {
    const std::string_view text = words_for(f).text;
    const bool whole = !text.empty() && text.front() < 'a';
    std::string told = whole ? std::string(text) : std::string(not_verified).append(text);
    if (a == action::tempfail) told += ", try again later";
    return told;
}

decision decide(const smtpclient::verdict& v,
                const policy& p,
                const smtpclient::mailbox* recipient) {
    return decide_as(action_for(v.finding.verdict_class, p), {}, v, p, recipient);
}

decision decide_as(action a,
                   std::string_view untrusted_text,
                   const smtpclient::verdict& v,
                   const policy& p,
                   const smtpclient::mailbox* recipient) {
    decision d;
    d.action = a;
    if (d.action == action::accept) return d;
    if (!untrusted_text.empty()) d.text = told_text(std::string(untrusted_text), v, recipient);
    const verdict_class c = v.finding.verdict_class;
    if (c == verdict_class::deliverable || c == verdict_class::skipped) {
        // Nobody but the script has anything against it.
        const bool reject = a == action::reject;
        d.code = reject ? 550 : 450;
        d.enhanced = reject ? "5.7.1" : "4.7.1";
        if (!says_something(d.text)) {
            d.text = reject ? "Recipient address rejected by local policy"
                            : "Recipient address deferred by local policy, try again later";
        }
        return d;
    }
    // A 2xx may be evidence ("250-SIZE" without STARTTLS), but is nothing to be passed on.
    const bool refusal = v.reply && v.reply->code >= 400 && v.reply->code <= 599;
    const int code = refusal ? v.reply->code : words_for(v.finding).code;
    d.code = d.action == action::reject ? reject_code(code) : tempfail_code(code);
    auto enhanced = refusal ? v.reply->enhanced() : std::nullopt;
    if (!enhanced) enhanced = default_enhanced_code(v.finding, d.code / 100);
    enhanced->status_class = d.code / 100;
    d.enhanced = to_string(*enhanced);
    if (!says_something(d.text) && refusal && p.reply_text == reply_text::upstream) {
        d.text = told_text(v.reply->text(), v, recipient);
    }
    if (!says_something(d.text)) d.text = sentence(v.finding, d.action);
    return d;
}

void add_trace_id(decision& d, std::string_view id) {
    const std::string mark = " (cf-" + std::string(id) + ')';
    if (d.text.size() + mark.size() > longest_text) d.text.resize(longest_text - mark.size());
    d.text += mark;
}

decision still_pending() {
    return {action::tempfail,
            450,
            "4.2.0",
            "Recipient address verification is in progress, try again later"};
}

decision shutting_down() {
    return {action::tempfail, 451, "4.3.0", "Service is shutting down, try again later"};
}

decision internal_error() {
    return {action::tempfail, 451, "4.3.0", "Internal error, try again later"};
}

decision too_many_unknown() {
    return {action::tempfail, 421, "4.7.1", "Too many unknown recipients, try again later"};
}

decision domain_suspended() {
    return {action::tempfail,
            450,
            "4.3.0",
            "Recipient verification of this domain is suspended, try again later"};
}

}  // namespace callforward::milter
