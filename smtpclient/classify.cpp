#include "smtpclient/classify.h"

#include "smtpclient/local_rules.h"
#include "smtpclient/wording.h"

#include <re2/re2.h>

#include <cstddef>
#include <utility>

namespace callforward::smtpclient {

namespace {

constexpr finding protocol_error{verdict_class::unreachable, reason::protocol_error};
constexpr finding auth_required{verdict_class::refused, reason::auth_required};
constexpr finding client_refused{verdict_class::refused, reason::client_refused};

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

finding refused(const wording& words) {
    return {verdict_class::refused,
            words.of_authentication() ? reason::auth_required : reason::policy};
}

finding classify_deferral(const reply& r, const reply_context& context) {
    const auto enhanced = r.enhanced();
    const wording words(r, context.domain);
    const auto deferred = [](reason why) { return finding{verdict_class::deferred, why}; };
    if (enhanced && enhanced->subject == 2 && enhanced->detail == 2) {
        return deferred(reason::mailbox_full);
    }
    if (words.of_greylisting()) return deferred(reason::greylisted);
    // RFC 5321 section 4.5.3.1.10: too many recipients.
    if (enhanced && enhanced->subject == 5 && enhanced->detail == 3) {
        return deferred(reason::throttled);
    }
    if (words.of_throttling()) return deferred(reason::throttled);
    if (!enhanced && !words.of_policy() && words.of_a_full_mailbox()) {
        return deferred(reason::mailbox_full);
    }
    return deferred(reason::deferred);
}

// 5.1.x: a bad destination mailbox, unless code or words speak of the sender or of us.
finding classify_bad_address(const enhanced_code& enhanced,
                             const wording& words,
                             const reply_context& context) {
    if (enhanced.detail == 7 || enhanced.detail == 8) {
        return sender_refused(context.original_sender);
    }
    // RFC 3463 and its registry end at 5.1.10. Microsoft 365 goes on: 5.1.20 (bad From), 5.1.90
    // (the sender's daily limit).
    if (enhanced.detail >= 20) return refused(words);
    // Postfix has "550 5.1.0 <...>: Sender address rejected: User unknown in local recipient
    // table", and says so at RCPT.
    if (words.of_the_sender()) return sender_refused(context.original_sender);
    if (words.of_another_cause()) return refused(words);
    return undeliverable(enhanced.detail == 6 ? reason::moved : reason::unknown_user);
}

// 5.2.x: the state of the mailbox. Google has "550 5.2.1 ... is receiving mail at a rate that
// prevents additional messages", Microsoft 365 "5.2.2 Submission quota exceeded".
finding classify_mailbox_state(const enhanced_code& enhanced, const wording& words) {
    if (words.of_the_sender() || words.of_another_cause()) return refused(words);
    if (enhanced.detail == 0 && words.of_policy()) return refused(words);  // says nothing itself
    if (enhanced.detail <= 1) return undeliverable(reason::disabled);
    if (enhanced.detail == 2) return undeliverable(reason::mailbox_full);
    return refused(words);
}

// Without an enhanced code the text is all there is beside the code.
finding classify_bare_refusal(int code, const wording& words) {
    if (code < 550 || code > 553 || words.of_policy()) return refused(words);
    // 552 is also "message too big" and "too many recipients" (RFC 5321 section 4.5.3.1.10), which
    // are words of policy.
    if (code == 552 || words.of_a_full_mailbox()) return undeliverable(reason::mailbox_full);
    return undeliverable(code == 551 ? reason::moved : reason::unknown_user);
}

// What of a 5xx to RCPT or DATA decides. The order matters: what the enhanced code says comes
// before what the code says.
enum class refusal_row {
    authentication,
    bad_address,
    syntax,
    bare,
    mailbox_state,
    directory,
    other
};

refusal_row row_of(const reply& r, const wording& words) {
    const auto enhanced = agreed_code(r);
    if (is_about_authentication(r.code)) return refusal_row::authentication;
    if (enhanced && enhanced->subject == 1) return refusal_row::bad_address;
    if (is_about_syntax(r.code)) return refusal_row::syntax;
    if (!enhanced) return refusal_row::bare;
    if (enhanced->subject == 2) return refusal_row::mailbox_state;
    // Microsoft 365 answers "550 5.4.1 Recipient address rejected: Access denied" for mailboxes
    // that its directory does not have, but "550 5.4.1 Relay access denied" for foreign domains.
    const bool of_directory = r.code == 550 && enhanced->subject == 4 && enhanced->detail == 1 &&
                              !words.of_another_cause() && !words.of_the_sender();
    return of_directory ? refusal_row::directory : refusal_row::other;
}

std::string_view to_string(refusal_row row) {
    switch (row) {
        case refusal_row::authentication:
            return "530, 534, 535, 538: authentication";
        case refusal_row::bad_address:
            return "5.1.x: the address, unless code or words speak of the sender or of us";
        case refusal_row::syntax:
            return "500 to 504, 555: our syntax";
        case refusal_row::bare:
            return "no enhanced code: 550 to 553 without words of policy are about the recipient";
        case refusal_row::mailbox_state:
            return "5.2.x: the state of the mailbox";
        case refusal_row::directory:
            return "550 5.4.1: not in the directory (Microsoft 365)";
        case refusal_row::other:
            return "every other 5xx: not about the recipient";
    }
    return "?";
}

finding classify_refusal(const reply& r, const reply_context& context) {
    const auto enhanced = agreed_code(r);
    const wording words(r, context.domain);
    switch (row_of(r, words)) {
        case refusal_row::authentication:
            return auth_required;
        case refusal_row::bad_address:
            return classify_bad_address(*enhanced, words, context);
        case refusal_row::syntax:
            return protocol_error;
        case refusal_row::bare:
            return classify_bare_refusal(r.code, words);
        case refusal_row::mailbox_state:
            return classify_mailbox_state(*enhanced, words);
        case refusal_row::directory:
            return undeliverable(reason::unknown_user);
        case refusal_row::other:
            break;
    }
    return refused(words);
}

// 5xx to MAIL: about the sender, unless it says that it is about us or about our syntax.
finding classify_mail_refusal(const reply& r, const reply_context& context) {
    const auto enhanced = agreed_code(r);
    const wording words(r, context.domain);
    if (is_about_authentication(r.code) || words.of_authentication()) return auth_required;
    const bool of_address = enhanced && enhanced->subject == 1;
    if (is_about_syntax(r.code) && !of_address) return protocol_error;
    if (words.of_the_client()) return client_refused;
    if (of_address) return sender_refused(context.original_sender);
    if (words.of_throttling()) return {verdict_class::refused, reason::policy};
    return sender_refused(context.original_sender);
}

finding built_in(const reply& r, const reply_context& context) {
    const bool at_recipient = context.stage == stage::rcpt || context.stage == stage::data;
    if (r.code == 421)
        return {verdict_class::unreachable, reason::deferred};  // RFC 5321 section 3.8
    switch (r.status_class()) {
        case 2:
            // To DATA it means nothing: content was not asked for, and there was none.
            if (context.stage == stage::rcpt) return {verdict_class::deliverable, reason::accepted};
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
                return auth_required;
            }
            return client_refused;
        default:
            break;
    }
    return protocol_error;
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
            if (rule.as == reason::mailbox_full && transient && at_recipient) {
                return finding{verdict_class::deferred, rule.as};
            }
            // Only a 5xx to RCPT makes a recipient undeliverable; a 4xx never becomes one.
            if (!at_recipient || r.status_class() != 5) return std::nullopt;
            return finding{usual, rule.as};
        case verdict_class::sender_refused:
            // Nobody has named a sender before MAIL.
            if (r.status_class() != 5 || context.stage < stage::mail) return std::nullopt;
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

// One line a rule; a pattern can hold a line feed, so its length is told before it.
std::string text_of(const std::vector<classify_rule>& rules) {
    std::string text;
    for (const auto& rule : rules) {
        text += rule.stage ? to_string(*rule.stage) : "-";
        text += rule.code ? ' ' + std::to_string(*rule.code) : " -";
        text += rule.enhanced ? ' ' + to_string(*rule.enhanced) : " -";
        const std::string pattern = rule.text ? rule.text->pattern() : std::string();
        text += ' ' + std::to_string(pattern.size()) + ':' + pattern;
        text += ' ' + std::string(to_string(rule.as)) + '\n';
    }
    return text;
}

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

namespace {

// The first local rule that has a say, and what it says.
std::optional<std::pair<std::size_t, finding>> local_rule(const reply& r,
                                                          const reply_context& context,
                                                          const std::vector<classify_rule>& rules) {
    if (rules.empty()) return std::nullopt;
    const std::string text = r.text();
    for (std::size_t i = 0; i < rules.size(); ++i) {
        if (!matches(rules[i], r, text, context)) continue;
        if (const auto found = apply(rules[i], r, context)) return std::pair{i, *found};
    }
    return std::nullopt;
}

std::string built_in_row(const reply& r, const reply_context& context) {
    const bool at_recipient = context.stage == stage::rcpt || context.stage == stage::data;
    const std::string where = "reply to " + std::string(to_string(context.stage));
    if (r.code == 421) return "421: the host wants nobody now";
    switch (r.status_class()) {
        case 2:
            return context.stage == stage::rcpt ? "2xx to RCPT: accepted"
                                                : "2xx as " + where + ": out of place";
        case 3:
            return "3xx as " + where;
        case 4:
            return at_recipient ? "4xx to RCPT: deferred, by code and words"
                                : "4xx before RCPT: says nothing about the recipient";
        case 5:
            if (at_recipient) return std::string(to_string(row_of(r, wording(r, context.domain))));
            if (context.stage == stage::mail) return "5xx to MAIL: the sender, or us";
            return "5xx before MAIL: about us";
        default:
            break;
    }
    return "no code of SMTP";
}

}  // namespace

finding classify(const reply& r,
                 const reply_context& context,
                 const std::vector<classify_rule>& rules) {
    if (const auto local = local_rule(r, context, rules)) return local->second;
    return built_in(r, context);
}

std::optional<finding> classify_locally(const reply& r,
                                        const reply_context& context,
                                        const std::vector<classify_rule>& rules) {
    const auto local = local_rule(r, context, rules);
    return local ? std::optional(local->second) : std::nullopt;
}

std::string rule_that_fires(const reply& r,
                            const reply_context& context,
                            const std::vector<classify_rule>& rules) {
    if (const auto local = local_rule(r, context, rules)) {
        return "[[classify]] rule " + std::to_string(local->first + 1) + ", as " +
               std::string(to_string(rules[local->first].as));
    }
    return "built-in: " + built_in_row(r, context);
}

}  // namespace callforward::smtpclient
