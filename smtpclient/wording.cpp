#include "smtpclient/wording.h"

#include "smtpclient/printable.h"

#include <algorithm>
#include <array>

namespace callforward::smtpclient {

namespace {

template <std::size_t N>
bool mentions(std::string_view text, const std::array<std::string_view, N>& words) {
    return std::any_of(words.begin(), words.end(), [&](std::string_view word) {
        return text.find(word) != std::string_view::npos;
    });
}

// Phrases about the recipient in which a word of policy means nothing: Postfix names its table,
// RFC 5321 section 4.2.2 words its 553, Sendmail names the host it relays to.
constexpr auto harmless_phrases = std::to_array<std::string_view>({"relay recipient table",
                                                                   "mailbox name not allowed",
                                                                   "mailbox name is not allowed",
                                                                   "relay=["});

// Words of policy, by what they speak of.
constexpr auto names_of_the_client = std::to_array<std::string_view>({"client host",
                                                                      "your ip",
                                                                      "ip address",
                                                                      "sending ip",
                                                                      "reverse dns",
                                                                      "ptr record",
                                                                      "no ptr",
                                                                      "helo",
                                                                      "ehlo",
                                                                      "hostname",
                                                                      "dynamic",
                                                                      "proxy",
                                                                      "connection",
                                                                      "trusted"});

constexpr auto words_of_reputation = std::to_array<std::string_view>(
    {"block",     "blacklist", "black list", "denylist",  "rbl",        "dnsbl",       "is listed",
     "listed at", "listed by", "listed in",  "listed on", "reputation", "abuse",       "spam",
     "virus",     "malware",   "phish",      "junk",      "bulk",       "unsolicited", "content"});

constexpr auto words_of_origin = std::to_array<std::string_view>({"sender",
                                                                  "spf",
                                                                  "dmarc",
                                                                  "dkim",
                                                                  "mail from",
                                                                  "messages from",
                                                                  "verif",
                                                                  "callout",
                                                                  "callback"});

constexpr auto words_of_permission = std::to_array<std::string_view>({"relay",
                                                                      "rcpthosts",
                                                                      "denied",
                                                                      "by administrator",
                                                                      "administratively",
                                                                      "message refused",
                                                                      "message rejected",
                                                                      "not welcome",
                                                                      "policy",
                                                                      "not allowed",
                                                                      "not permitted",
                                                                      "prohibit",
                                                                      "banned",
                                                                      "forbidden",
                                                                      "restrict",
                                                                      "authenticat",
                                                                      "authoriz",
                                                                      "authoris",
                                                                      "permission",
                                                                      "credential",
                                                                      "encryption",
                                                                      "tls"});

// A host that is not this domain's says nothing about its mailboxes.
constexpr auto words_of_route = std::to_array<std::string_view>({"such domain",
                                                                 "domain not",
                                                                 "domain is not",
                                                                 "unknown domain",
                                                                 "hosted",
                                                                 "cannot deliver",
                                                                 "hop count",
                                                                 "mail loop",
                                                                 "loop detected"});

// Of a directory, for example: an outage of it must not bounce a whole company.
constexpr auto words_of_failure = std::to_array<std::string_view>({"temporar",
                                                                   "try again",
                                                                   "ldap",
                                                                   "database",
                                                                   "lookup",
                                                                   "later",
                                                                   "busy",
                                                                   "queue full",
                                                                   "queue is full",
                                                                   "maintenance",
                                                                   "is down",
                                                                   "backend",
                                                                   "cannot connect",
                                                                   "could not connect",
                                                                   "cannot check",
                                                                   "could not check",
                                                                   "unable to check",
                                                                   "postgrey",
                                                                   "license",
                                                                   "licence",
                                                                   "internal error",
                                                                   "system error",
                                                                   "server error",
                                                                   "system storage",
                                                                   "system resources",
                                                                   "insufficient",
                                                                   "service unavailable",
                                                                   "service not available",
                                                                   "timed out",
                                                                   "qualified"});

// The same, said so that it counts beside a code that says of the address that it is bad.
constexpr auto words_of_an_outage = std::to_array<std::string_view>({"temporary failure",
                                                                     "temporary error",
                                                                     "lookup fail",
                                                                     "lookup error",
                                                                     "again later",
                                                                     "retry later",
                                                                     "ldap server",
                                                                     "ldap error",
                                                                     "server unreachable",
                                                                     "server not reachable",
                                                                     "server is down",
                                                                     "timed out"});

constexpr auto words_of_another_cause =
    std::to_array<std::string_view>({"blocked using", "client host",  "your ip",
                                     "sending ip",    "blacklist",    "black list",
                                     "block list",    "blocklist",    "denylist",
                                     "dnsbl",         "spamhaus",     "spamcop",
                                     "as spam",       "spam message", "reputation",
                                     "dmarc",         "dkim",         " spf",
                                     "policy",        "prohibit",     "message can't be sent",
                                     "reverse dns"});

constexpr auto words_about_the_sender = std::to_array<std::string_view>({"sender address",
                                                                         "sender rejected",
                                                                         "sender denied",
                                                                         "sender verif",
                                                                         "sender unknown",
                                                                         "unknown sender",
                                                                         "bad sender",
                                                                         "invalid sender",
                                                                         "outbound sender",
                                                                         "envelope sender"});

// A sender is also refused for what the client is: listed, without a name, or no host of the
// sender's domain (SPF), which a call-forward with the original sender is not.
constexpr auto words_about_the_client = std::to_array<std::string_view>(
    {"client host", "your ip",  "your host",  "sending ip",         "ip address", "blocked using",
     "spamhaus",    "dnsbl",    "rbl",        "blacklist",          "black list", "block list",
     "blocklist",   "denylist", "reputation", "reverse dns",        "ptr record", "helo",
     "ehlo",        "spf",      "dmarc",      "service unavailable"});

constexpr auto words_of_authentication =
    std::to_array<std::string_view>({"authentication required",
                                     "authentication is required",
                                     "requires authentication",
                                     "require authentication",
                                     "without authentication",
                                     "smtp authentication",
                                     "must authenticate",
                                     "must be authenticated",
                                     "not authenticated",
                                     "not logged in",
                                     "auth required",
                                     "must issue a starttls",
                                     "starttls command first",
                                     "encryption required"});

constexpr auto words_of_greylisting =
    std::to_array<std::string_view>({"greylist", "graylist", "grey list", "gray list"});

constexpr auto words_of_throttling = std::to_array<std::string_view>({"throttl",
                                                                      "rate limit",
                                                                      "rate-limit",
                                                                      "ratelimit",
                                                                      "at a rate",
                                                                      "too many",
                                                                      "too fast",
                                                                      "too quickly",
                                                                      "too much",
                                                                      "too frequent",
                                                                      "limit exceeded",
                                                                      "daily limit",
                                                                      "recipient limit",
                                                                      "recipients limit",
                                                                      "recipient count",
                                                                      "maximum recipient",
                                                                      "maximum number",
                                                                      "max recipient",
                                                                      "recipients exceeded",
                                                                      "more recipients",
                                                                      "session limit",
                                                                      "per session",
                                                                      "sending quota",
                                                                      "sending limit",
                                                                      "submission quota",
                                                                      "more slowly"});

// What a mailbox exceeds is not how much a client sends: "552 5.2.2 Mailbox size limit exceeded".
constexpr auto limits_of_a_mailbox = std::to_array<std::string_view>(
    {"mailbox size limit exceeded", "mailbox limit exceeded", "storage limit exceeded"});

constexpr auto words_of_a_full_mailbox =
    std::to_array<std::string_view>({"quota",
                                     "mailbox full",
                                     "mailbox is full",
                                     "mailbox limit",
                                     "mailbox size",
                                     "mailbox for user is full",
                                     "inbox is full",
                                     "storage",
                                     "disk space",
                                     "is over its limit"});

constexpr auto words_of_message_size = std::to_array<std::string_view>(
    {"message size", "message too", "message is too", "message exceeds", "too large", "too big"});

bool is_letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_of_address(char c) {
    return is_letter_or_digit(c) ||
           std::string_view(".!#$%&'*+-_?^`~").find(c) != std::string_view::npos;
}

void blank_addresses(std::string& text) {
    for (auto at = text.find('@'); at != std::string::npos; at = text.find('@', at)) {
        std::size_t begin = at;
        std::size_t end = at + 1;
        while (begin > 0 && is_of_address(text[begin - 1])) --begin;
        while (end < text.size() && is_of_address(text[end])) ++end;
        std::fill(text.begin() + static_cast<std::ptrdiff_t>(begin),
                  text.begin() + static_cast<std::ptrdiff_t>(end),
                  ' ');
    }
}

void blank_phrase(std::string& text, std::string_view phrase) {
    for (auto at = text.find(phrase); at != std::string::npos; at = text.find(phrase, at)) {
        text.replace(at, phrase.size(), phrase.size(), ' ');
    }
}

// Whole names only, and with a dot: the domain "re" is no reason to take it out of "relaying".
void blank_domain(std::string& text, std::string_view domain) {
    if (domain.find('.') == std::string_view::npos) return;
    const std::string name = to_lower(domain);
    for (auto at = text.find(name); at != std::string::npos; at = text.find(name, at + 1)) {
        const auto end = at + name.size();
        const bool begins = at == 0 || !is_letter_or_digit(text[at - 1]);
        const bool ends = end == text.size() || !is_letter_or_digit(text[end]);
        if (begins && ends) text.replace(at, name.size(), name.size(), ' ');
    }
}

// True for an enhanced code inside the line that speaks of something else than the recipient.
bool contains_code_of_policy(std::string_view line) {
    for (std::size_t i = 0; i < line.size(); ++i) {
        if (line[i] != '5') continue;
        if (i > 0 && (is_letter_or_digit(line[i - 1]) || line[i - 1] == '.')) continue;
        std::string_view rest = line.substr(i);
        const auto code = take_enhanced_code(rest);
        if (!code) continue;
        const bool of_sender = code->subject == 1 && (code->detail == 7 || code->detail == 8);
        if ((code->subject != 1 && code->subject != 2) || of_sender) return true;
    }
    return false;
}

}  // namespace

wording::wording(const reply& r, std::string_view recipient_domain) : words_(to_lower(r.text())) {
    blank_addresses(words_);
    blank_domain(words_, recipient_domain);
    for (const auto phrase : harmless_phrases) blank_phrase(words_, phrase);
    has_code_of_policy_ = std::any_of(r.lines.begin(), r.lines.end(), contains_code_of_policy);
}

bool wording::of_policy() const {
    return has_code_of_policy_ || mentions(words_, names_of_the_client) ||
           mentions(words_, words_of_reputation) || mentions(words_, words_of_origin) ||
           mentions(words_, words_of_permission) || mentions(words_, words_of_route) ||
           mentions(words_, words_of_failure) || of_throttling() || of_message_size();
}

bool wording::of_another_cause() const {
    return mentions(words_, words_of_another_cause) || mentions(words_, words_of_an_outage) ||
           of_relaying() || of_authentication() || of_greylisting() || of_throttling();
}

bool wording::of_the_sender() const {
    return mentions(words_, words_about_the_sender);
}

bool wording::of_the_client() const {
    return mentions(words_, words_about_the_client);
}

bool wording::of_authentication() const {
    return mentions(words_, words_of_authentication);
}

bool wording::of_greylisting() const {
    return mentions(words_, words_of_greylisting);
}

bool wording::of_throttling() const {
    std::string words = words_;
    for (const auto phrase : limits_of_a_mailbox) blank_phrase(words, phrase);
    return mentions(words, words_of_throttling);
}

bool wording::of_a_full_mailbox() const {
    return mentions(words_, words_of_a_full_mailbox);
}

bool wording::of_message_size() const {
    return mentions(words_, words_of_message_size);
}

bool wording::of_relaying() const {
    return words_.find("relay") != std::string::npos;
}

}  // namespace callforward::smtpclient
