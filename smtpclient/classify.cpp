#include "smtpclient/classify.h"

#include "smtpclient/printable.h"

#include <re2/re2.h>

#include <algorithm>
#include <array>

namespace callforward::smtpclient {

namespace {

// text is in lower case.
template <std::size_t N>
bool mentions(const std::string& text, const std::array<std::string_view, N>& words) {
    return std::any_of(words.begin(), words.end(), [&](std::string_view word) {
        return contains_ignoring_case(text, word);
    });
}

// Words that turn a bare 550 or 553 from "no such mailbox" into "not from you": policy of the next
// hop about the client, the sender or the content, as Postfix, Exim, Exchange, qmail and the block
// lists word it.
constexpr std::array<std::string_view, 30> words_of_policy{
    "relay",      "block",      "denied",      "spam",        "authenticat",   "blacklist",
    "black list", "denylist",   "rbl",         "dnsbl",       "spf",           "dmarc",
    "dkim",       "reputation", "policy",      "not allowed", "not permitted", "prohibited",
    "banned",     "forbidden",  "client host", "your ip",     "ip address",    "reverse dns",
    "ptr record", "abuse",      "too many",    "rate limit",  "authoriz",      "sender",
};

constexpr std::array<std::string_view, 4> words_of_greylisting{
    "greylist", "graylist", "grey list", "gray list"};

constexpr std::array<std::string_view, 7> words_of_throttling{"throttl",
                                                              "rate limit",
                                                              "too many",
                                                              "too fast",
                                                              "too much",
                                                              "limit exceeded",
                                                              "try again more slowly"};

constexpr std::array<std::string_view, 6> words_of_authentication{"authentication required",
                                                                  "must authenticate",
                                                                  "not authenticated",
                                                                  "must issue a starttls",
                                                                  "auth required",
                                                                  "starttls command first"};

constexpr std::array<std::string_view, 4> words_about_the_client{
    "client host", "your ip", "your host", "blocked using"};

// The words of a reply that are the next hop's own: without addresses and without the recipient's
// domain, in which "spam@" or "blockchain.example" would be no evidence of anything.
std::string own_words(const reply& r, std::string_view domain) {
    const std::string text = to_lower(r.text());
    const std::string name = to_lower(domain);
    std::string words;
    for (std::size_t begin = 0; begin < text.size();) {
        const auto end = std::min(text.find(' ', begin), text.size());
        const std::string_view word = std::string_view(text).substr(begin, end - begin);
        const bool repeats = word.find('@') != std::string_view::npos ||
                             (!name.empty() && word.find(name) != std::string_view::npos);
        if (!repeats) words.append(word) += ' ';
        begin = end + 1;
    }
    return words;
}

// The enhanced code with its class made to agree with the reply code: the code decides (RFC 3463
// section 2).
std::optional<enhanced_code> agreed_code(const reply& r) {
    auto code = r.enhanced();
    if (code) code->status_class = r.status_class();
    return code;
}

bool is_about_syntax(int code) {
    return (code >= 500 && code <= 504) || code == 555;
}

bool is_about_authentication(int code) {
    return code == 530 || code == 534 || code == 535 ||
           code == 538;  // RFC 3207 section 4, RFC 4954 section 6
}

finding sender_refused(bool original_sender) {
    return {original_sender ? verdict_class::sender_refused : verdict_class::refused,
            reason::sender_refused};
}

finding undeliverable(reason r) {
    return {verdict_class::undeliverable, r};
}

finding refused(reason r) {
    return {verdict_class::refused, r};
}

finding classify_deferral(const reply& r, const reply_context& context) {
    const auto enhanced = r.enhanced();
    const std::string text = own_words(r, context.domain);
    const auto deferred = [](reason why) { return finding{verdict_class::deferred, why}; };
    if (enhanced && enhanced->subject == 2 && enhanced->detail == 2) {
        return deferred(reason::mailbox_full);
    }
    if (mentions(text, words_of_greylisting)) return deferred(reason::greylisted);
    if (mentions(text, words_of_throttling)) return deferred(reason::throttled);
    return deferred(reason::deferred);
}

// 5xx to RCPT or DATA. The order matters: what the enhanced code says comes before what the code
// says.
finding classify_refusal(const reply& r, const reply_context& context) {
    const auto enhanced = agreed_code(r);
    const std::string text = own_words(r, context.domain);
    if (is_about_authentication(r.code)) return refused(reason::auth_required);
    if (enhanced && enhanced->subject == 1) {
        if (enhanced->detail == 7 || enhanced->detail == 8) {
            return sender_refused(context.original_sender);
        }
        return undeliverable(enhanced->detail == 6 ? reason::moved : reason::unknown_user);
    }
    if (enhanced && enhanced->subject == 2) {
        if (enhanced->detail <= 1) return undeliverable(reason::disabled);
        if (enhanced->detail == 2) return undeliverable(reason::mailbox_full);
    }
    // Microsoft 365 answers "550 5.4.1 Recipient address rejected" for mailboxes that its directory
    // does not have.
    if (enhanced && r.code == 550 && enhanced->subject == 4 && enhanced->detail == 1) {
        return undeliverable(reason::unknown_user);
    }
    if (is_about_syntax(r.code)) return {verdict_class::unreachable, reason::protocol_error};
    if (enhanced && enhanced->subject == 7) {
        const bool wants_it = mentions(text, words_of_authentication);
        return refused(wants_it ? reason::auth_required : reason::policy);
    }
    // 552 is also "message too big" (5.3.4) and "too many recipients" (RFC 5321
    // section 4.5.3.1.10).
    if (r.code == 552 && !enhanced && !mentions(text, words_of_policy)) {
        return undeliverable(reason::mailbox_full);
    }
    if (r.code == 551 && !enhanced) return undeliverable(reason::moved);
    if ((r.code == 550 || r.code == 553) && !enhanced && !mentions(text, words_of_policy)) {
        return undeliverable(reason::unknown_user);
    }
    return refused(reason::policy);
}

// 5xx to MAIL: about the sender, unless it says that it is about us or about our syntax.
finding classify_mail_refusal(const reply& r, const reply_context& context) {
    const auto enhanced = agreed_code(r);
    const std::string text = own_words(r, context.domain);
    if (is_about_authentication(r.code) || mentions(text, words_of_authentication)) {
        return refused(reason::auth_required);
    }
    if (enhanced && enhanced->subject == 1) return sender_refused(context.original_sender);
    if (is_about_syntax(r.code)) return {verdict_class::unreachable, reason::protocol_error};
    if (mentions(text, words_about_the_client)) return refused(reason::client_refused);
    return sender_refused(context.original_sender);
}

finding built_in(const reply& r, const reply_context& context) {
    const bool at_recipient = context.stage == stage::rcpt || context.stage == stage::data;
    if (r.code == 421)
        return {verdict_class::unreachable, reason::deferred};  // RFC 5321 section 3.8
    switch (r.status_class()) {
        case 2:
            if (at_recipient) return {verdict_class::deliverable, reason::accepted};
            break;
        case 3:
            // 354: the host decided only at DATA, and accepts.
            if (context.stage == stage::data && r.code == 354) {
                return {verdict_class::deliverable, reason::accepted};
            }
            break;
        case 4:
            if (at_recipient) return classify_deferral(r, context);
            return {verdict_class::unreachable, reason::deferred};
        case 5:
            if (at_recipient) return classify_refusal(r, context);
            if (context.stage == stage::mail) return classify_mail_refusal(r, context);
            if (context.stage == stage::auth || is_about_authentication(r.code)) {
                return refused(reason::auth_required);
            }
            return refused(reason::client_refused);
        default:
            break;
    }
    return {verdict_class::unreachable, reason::protocol_error};
}

bool matches(const classify_rule& rule,
             const reply& r,
             const std::string& text,
             const reply_context& context) {
    if (rule.stage && *rule.stage != context.stage) return false;
    if (rule.code && *rule.code != r.code) return false;
    if (rule.enhanced && rule.enhanced != r.enhanced()) return false;
    return !rule.text || re2::RE2::PartialMatch(text, *rule.text);
}

// The class a rule's reason stands for, given the reply it matched; nothing when the rule asks for
// what no rule may.
std::optional<finding> apply(const classify_rule& rule,
                             const reply& r,
                             const reply_context& context) {
    const bool at_recipient = context.stage == stage::rcpt || context.stage == stage::data;
    const bool transient = r.status_class() == 4;
    switch (const verdict_class usual = usual_class(rule.as); usual) {
        case verdict_class::deliverable:
            if (!at_recipient) return std::nullopt;
            return finding{usual, rule.as};
        case verdict_class::undeliverable:
            if (rule.as == reason::mailbox_full && transient) {
                return finding{verdict_class::deferred, rule.as};
            }
            // Only a 5xx to RCPT makes a recipient undeliverable; a 4xx never becomes one.
            if (!at_recipient || r.status_class() != 5) return std::nullopt;
            return finding{usual, rule.as};
        case verdict_class::sender_refused:
            if (r.status_class() != 5) return std::nullopt;
            return sender_refused(context.original_sender);
        case verdict_class::deferred:
            if (!at_recipient) return finding{verdict_class::unreachable, reason::deferred};
            return finding{usual, rule.as};
        case verdict_class::refused:
        case verdict_class::unreachable:
        case verdict_class::insecure:
            return finding{usual, rule.as};
        case verdict_class::skipped:
            return std::nullopt;
    }
    return std::nullopt;
}

}  // namespace

std::shared_ptr<const re2::RE2> compile_pattern(const std::string& pattern, std::string& error) {
    re2::RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(1 << 20);
    options.set_encoding(re2::RE2::Options::EncodingLatin1);  // the text is made printable ASCII
    auto compiled = std::make_shared<const re2::RE2>(pattern, options);
    if (!compiled->ok()) {
        error = compiled->error();
        return nullptr;
    }
    return compiled;
}

finding classify(const reply& r,
                 const reply_context& context,
                 const std::vector<classify_rule>& rules) {
    if (!rules.empty()) {
        const std::string text = r.text();
        for (const auto& rule : rules) {
            if (!matches(rule, r, text, context)) continue;
            if (const auto found = apply(rule, r, context)) return *found;
        }
    }
    return built_in(r, context);
}

}  // namespace callforward::smtpclient
