#include "smtpclient/classify.h"

#include "smtpclient/local_rules.h"

#include <doctest/doctest.h>
#include <re2/re2.h>

#include <initializer_list>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::smtpclient {

static std::ostream& operator<<(std::ostream& out, const finding& found) {
    return out << to_string(found.verdict_class) << '/' << to_string(found.reason);
}

namespace {

// A reply as it is read from the wire: "550-first|550 second".
reply from_wire(std::string_view text) {
    std::string wire;
    for (const char c : text) {
        if (c == '|') {
            wire += "\r\n";
        } else {
            wire += c;
        }
    }
    wire += "\r\n";
    reply_parser parser;
    std::string_view input = wire;
    REQUIRE(parser.feed(input) == reply_parser::progress::complete);
    REQUIRE(input.empty());
    return parser.take();
}

finding at_rcpt(std::string_view text) {
    return classify(from_wire(text), {stage::rcpt, true, "example.com"});
}

finding at_mail(std::string_view text) {
    return classify(from_wire(text), {stage::mail, true, "example.com"});
}

finding at(stage where, std::string_view text) {
    return classify(from_wire(text), {where, true, "example.com"});
}

void all_are(const finding& expected, std::initializer_list<std::string_view> replies) {
    for (const auto text : replies) {
        CAPTURE(std::string(text));
        CHECK(at_rcpt(text) == expected);
    }
}

constexpr finding accepted{verdict_class::deliverable, reason::accepted};
constexpr finding unknown{verdict_class::undeliverable, reason::unknown_user};
constexpr finding disabled{verdict_class::undeliverable, reason::disabled};
constexpr finding moved{verdict_class::undeliverable, reason::moved};
constexpr finding full{verdict_class::undeliverable, reason::mailbox_full};
constexpr finding sender_refused{verdict_class::sender_refused, reason::sender_refused};
constexpr finding deferred{verdict_class::deferred, reason::deferred};
constexpr finding greylisted{verdict_class::deferred, reason::greylisted};
constexpr finding throttled{verdict_class::deferred, reason::throttled};
constexpr finding full_for_now{verdict_class::deferred, reason::mailbox_full};
constexpr finding client_refused{verdict_class::refused, reason::client_refused};
constexpr finding auth_required{verdict_class::refused, reason::auth_required};
constexpr finding policy{verdict_class::refused, reason::policy};
constexpr finding protocol_error{verdict_class::unreachable, reason::protocol_error};
constexpr finding deferred_early{verdict_class::unreachable, reason::deferred};

classify_rule rule(std::optional<stage> where,
                   std::optional<int> code,
                   std::optional<enhanced_code> enhanced,
                   const std::string& pattern,
                   reason as) {
    classify_rule made;
    made.stage = where;
    made.code = code;
    made.enhanced = enhanced;
    std::string error;
    if (!pattern.empty()) {
        made.text = compile_pattern(pattern, error);
        REQUIRE(made.text);
    }
    made.as = as;
    return made;
}

}  // namespace

TEST_CASE("any 2xx to RCPT is accepted") {
    all_are(accepted,
            {"250 2.1.5 Ok",
             "250 Accepted",
             "250",
             "251 User not local; will forward",
             "252 Cannot VRFY user, but will accept message",
             "250 spam relay denied",
             "250 5.1.1 odd",
             "200 ok",
             "259 ok"});
}

TEST_CASE("DATA decides where RCPT did not") {
    CHECK(at(stage::data, "354 End data with <CR><LF>.<CR><LF>") == accepted);
    CHECK(at(stage::data, "550 5.1.1 User unknown") == unknown);
    CHECK(at(stage::data, "451 4.3.0 try later") == deferred);
    CHECK(at(stage::data, "554 5.5.1 Error: no valid recipients") == policy);
    CHECK(at(stage::data, "503 5.5.1 RCPT first") == protocol_error);
    CHECK(at(stage::data, "355 ?") == protocol_error);
    CHECK(at_rcpt("354 go on") == protocol_error);
}

TEST_CASE("the rows of the contract") {
    // unknown_user
    for (const auto* detail : {"0", "1", "2", "3", "4", "5", "9", "10"}) {
        const std::string text = std::string(" 5.1.") + detail + " no";
        CAPTURE(text);
        CHECK(at_rcpt("550" + text) == unknown);
        CHECK(at_rcpt("554" + text) == unknown);
        CHECK(at_rcpt("501" + text) == unknown);
    }
    CHECK(at_rcpt("550 5.4.1 Recipient address rejected: Access denied.") == unknown);
    CHECK(at_rcpt("550 no") == unknown);
    CHECK(at_rcpt("550") == unknown);
    CHECK(at_rcpt("553 no") == unknown);
    // and not so
    CHECK(at_rcpt("550 relay") == policy);
    CHECK(at_rcpt("550 blocked") == policy);
    CHECK(at_rcpt("550 denied") == policy);
    CHECK(at_rcpt("553 spam") == policy);
    CHECK(at_rcpt("553 authentication") == policy);
    CHECK(at_rcpt("554 no") == policy);
    CHECK(at_rcpt("554 5.4.1 no") == policy);
    CHECK(at_rcpt("551 5.4.1 no") == policy);
    // disabled, moved, mailbox_full
    CHECK(at_rcpt("550 5.2.0 no") == disabled);
    CHECK(at_rcpt("550 5.2.1 no") == disabled);
    CHECK(at_rcpt("551 no") == moved);
    CHECK(at_rcpt("551 5.1.6 no") == moved);
    CHECK(at_rcpt("550 5.1.6 no") == moved);
    CHECK(at_rcpt("552 no") == full);
    CHECK(at_rcpt("552 5.2.2 no") == full);
    CHECK(at_rcpt("554 5.2.2 no") == full);
    // sender_refused
    CHECK(at_rcpt("550 5.1.7 no") == sender_refused);
    CHECK(at_rcpt("550 5.1.8 no") == sender_refused);
    CHECK(at_mail("550 no") == sender_refused);
    CHECK(at_mail("554 5.7.1 no") == sender_refused);
    // deferred
    CHECK(at_rcpt("450 no") == deferred);
    CHECK(at_rcpt("451 no") == deferred);
    CHECK(at_rcpt("452 4.2.2 no") == full_for_now);
    CHECK(at_rcpt("452 4.5.3 no") == throttled);
    CHECK(at_rcpt("450 greylisted") == greylisted);
    // refused
    CHECK(at(stage::greeting, "554 no") == client_refused);
    CHECK(at(stage::ehlo, "550 no") == client_refused);
    CHECK(at(stage::helo, "550 no") == client_refused);
    CHECK(at(stage::auth, "535 no") == auth_required);
    CHECK(at_mail("530 no") == auth_required);
    CHECK(at_rcpt("530 no") == auth_required);
    CHECK(at_rcpt("550 5.7.1 no") == policy);
    CHECK(at_rcpt("550 5.3.0 no") == policy);
    CHECK(at_rcpt("521 no") == policy);
    CHECK(at_rcpt("556 5.9.9 no") == policy);
    // unreachable
    for (const auto* code : {"500", "501", "502", "503", "504", "555"}) {
        CHECK(at_rcpt(std::string(code) + " no") == protocol_error);
        CHECK(at_rcpt(std::string(code) + " 5.5.2 no") == protocol_error);
        CHECK(at_rcpt(std::string(code) + " 5.2.1 no") == protocol_error);
    }
    CHECK(at_rcpt("421 4.3.2 no") == deferred_early);
    CHECK(at(stage::greeting, "421 no") == deferred_early);
    CHECK(at(stage::greeting, "450 no") == deferred_early);
    CHECK(at_mail("451 no") == deferred_early);
}

TEST_CASE("a null or fixed sender that is refused is our refusal, not the original sender's") {
    const auto with_other_sender = [](stage where, std::string_view text) {
        return classify(from_wire(text), {where, false, "example.com"});
    };
    const finding ours{verdict_class::refused, reason::sender_refused};
    CHECK(with_other_sender(stage::mail, "550 5.7.1 null sender not welcome") == ours);
    CHECK(with_other_sender(stage::mail, "553 NULL sender is not allowed") == ours);
    CHECK(with_other_sender(stage::rcpt, "550 5.1.7 Sender address rejected") == ours);
    CHECK(with_other_sender(stage::rcpt, "550 5.1.0 Sender address rejected") == ours);
    CHECK(with_other_sender(stage::rcpt, "550 5.1.1 User unknown") == unknown);
}

TEST_CASE("unknown users, in the words of many hosts") {
    all_are(
        unknown,
        {
            // Postfix
            "550 5.1.1 <joe@example.com>: Recipient address rejected: User unknown in virtual "
            "mailbox table",
            "550 5.1.1 <joe@example.com>: Recipient address rejected: User unknown in relay "
            "recipient table",
            "550 <joe@example.com>: Recipient address rejected: User unknown in relay recipient "
            "table",
            "550 <joe@example.com>: User unknown in local recipient table",
            "550 5.1.1 <joe@example.com>: Recipient address rejected: undeliverable address: "
            "unknown user: \"joe\"",
            // Exim, cPanel, Plesk
            "550 Unrouteable address",
            "550 Unknown user",
            "550 \"No Such User Here\"",
            "550 No such person at this address.",
            "550-unknown local part|550 in <joe@example.com>",
            // Sendmail
            "550 5.1.1 <joe@example.com>... User unknown",
            "553 5.1.3 <joe@example.com>... Invalid host name",
            // Exchange, Microsoft 365
            "550 5.1.1 User unknown",
            "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address "
            "lookup",
            "550 5.4.1 Recipient address rejected: Access denied. "
            "[AM5EUR02FT012.eop-EUR02.prod.protection.outlook.com]",
            "550 5.4.1 [joe@example.com]: Recipient address rejected: Access denied",
            "501 5.1.3 Invalid address",
            // Google
            "550-5.1.1 The email account that you tried to reach does not exist. Please try|"
            "550-5.1.1 double-checking the recipient's email address for typos or|"
            "550-5.1.1 unnecessary spaces. For more information, go to|"
            "550 5.1.1  https://support.google.com/mail/?p=NoSuchUser a1-20020a5d4 - gsmtp",
            // Dovecot LMTP, Cyrus
            "550 5.1.1 <joe@example.com> User doesn't exist: joe@example.com",
            "550-Mailbox unknown.  Either there is no mailbox associated with this|550-name or "
            "you do not have a right to see it.|550 5.1.1 User unknown",
            // qmail and its patches
            "550 sorry, no mailbox here by that name. (#5.1.1)",
            "550 5.1.1 sorry, no mailbox here by that name (chkuser)",
            "553 5.1.1 sorry, no mailbox here by that name",
            "550 User not found: joe@example.com",
            // hMailServer, MailEnable, MDaemon, Kerio, Domino, OpenSMTPD, Courier
            "550 Unknown user",
            "550 Requested action not taken: mailbox unavailable or not local",
            "550 <joe@example.com>, Recipient unknown",
            "550 5.1.1 <joe@example.com> Mailbox does not exist",
            "550 5.1.1 joe@example.com... User not listed in Domino Directory",
            "550 Invalid recipient: <joe@example.com>",
            "550 User unknown.",
            // Zimbra, Stalwart
            "550 5.1.1 <joe@example.com>: Recipient address rejected: example.com",
            "550 5.1.2 Mailbox does not exist.",
            // gateways
            "550 cuda_nsu 5.1.1 <joe@example.com> Recipient address rejected: User unknown",
            "550 No such user (joe@example.com)",
            "550 Invalid Recipient - https://community.mimecast.com/docs/DOC-1369#550 "
            "[Vy8pNUuLM3eLqdNgm2Vfmg.uk201]",
            "550 5.1.1 User Unknown",
            "550 #5.1.0 Address rejected.",
            "550 5.1.1 recipient email address does not exist in this system",
            // the words of RFC 5321 itself
            "550 Requested action not taken: mailbox unavailable",
            "553 Requested action not taken: mailbox name not allowed",
            // a directory, but no outage of it
            "550 5.1.1 User unknown in LDAP directory",
            // two blanks before the code
            "550  5.1.1 no such user",
            // the code decides where the enhanced code's class does not fit
            "550 4.1.1 unknown",
        });
}

TEST_CASE("mailboxes that are closed, moved or full") {
    all_are(disabled,
            {"550 5.2.1 The email account that you tried to reach is disabled.",
             "550-5.2.1 The email account that you tried to reach is inactive. Learn more at|550 "
             "5.2.1  https://support.google.com/mail/?p=DisabledUser a1-2002 - gsmtp",
             "550 5.2.1 <joe@example.com>... Mailbox disabled for this recipient",
             "554 5.2.1 account closed",
             "550 5.2.1 This mailbox has been blocked due to inactivity"});
    all_are(moved,
            {"551 User not local; please try <joe@other.example>",
             "551 5.1.6 recipient has moved",
             "550 5.1.6 The user has moved to joe@other.example"});
    all_are(full,
            {"552 5.2.2 <joe@example.com> Quota exceeded (mailbox for user is full)",
             "552-5.2.2 The email account that you tried to reach is over quota. Please direct|552 "
             "5.2.2 the recipient to https://support.google.com/mail/?p=OverQuotaPerm",
             "552 5.2.2 Over quota",
             "554 5.2.2 mailbox full",
             "552 Requested mail action aborted: exceeded storage allocation",
             "552 sorry, the recipient is over quota",
             "550 mailbox is full",
             "550 Mailbox quota exceeded",
             "550 5.2.2 Mailbox size limit reached",
             "552 5.2.2 Mailbox size limit exceeded",
             "552 mailbox size limit exceeded",
             "550 5.2.2 Mailbox limit exceeded",
             "552 5.2.2 Storage limit exceeded"});
}

TEST_CASE("refusals that speak of relaying") {
    all_are(policy,
            {"554 5.7.1 <joe@example.com>: Relay access denied",
             "550 relay not permitted",
             "550-Please turn on relaying|550 first",
             "550 5.7.1 <joe@example.com>... Relaying denied",
             "550 5.7.1 Unable to relay",
             "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain",
             "550 5.7.64 TenantAttribution; Relay Access Denied",
             "550 5.4.1 Relay Access Denied",
             "550 5.1.2 Relay not allowed.",
             "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
             "553 sorry, that domain isn't in my list of allowed rcpthosts",
             "551 User not local or invalid address - Relay denied",
             "513 Relaying denied.",
             "550 Delivery is not allowed to this address.",
             "554 Relay rejected for policy reasons.",
             "550 I cannot deliver mail for joe@example.com",
             "550 No such domain at this location (joe@example.com)"});
}

TEST_CASE("refusals that speak of nothing but the refusal") {
    all_are(policy,
            {"550 Message refused",
             "550 Message rejected",
             "550 rejected by administrator",
             "550 You are not welcome here",
             "550 no PTR"});
}

TEST_CASE("refusals that speak of the client: lists, reputation, names") {
    all_are(
        policy,
        {"554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; "
         "https://www.spamhaus.org/query/ip/192.0.2.1",
         "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied",
         "550-rejected because 192.0.2.1 is in a black list at zen.spamhaus.org|550 see there",
         "550 Administrative prohibition",
         "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)",
         "550 5.7.606 Access denied, banned sending IP [192.0.2.1]",
         "550 5.7.1 Service unavailable, Client host [192.0.2.1] blocked using Spamhaus",
         "550-5.7.1 [192.0.2.1] The IP you're using to send mail is not authorized to|550 5.7.1 "
         "send email directly to our servers.",
         "550 5.7.25 The IP address sending this message does not have a PTR record setup",
         "550 SC-001 (COL004) Unfortunately, messages from 192.0.2.1 weren't sent. part of their "
         "network is on our block list",
         "550 DY-001 Mail rejected by Windows Live Hotmail for policy reasons",
         "550 #5.7.1 Your access to submit messages to this e-mail system has been rejected.",
         "554 Service unavailable; Client host [192.0.2.1] blocked using Barracuda Reputation",
         "550 permanent failure for one or more recipients (joe@example.com:blocked)",
         "550 csi.mimecast.org Poor Reputation Sender. - https://community.mimecast.com",
         "550 Administrative prohibition envelope blocked - https://community.mimecast.com",
         "550 Rejected by header based Anti-Spoofing policy: joe@example.com",
         "554 Host network not allowed",
         "554 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.1",
         "550 5.7.0 Local Policy Violation",
         "550 5.7.1 <joe@example.com>: Recipient address rejected: User email address is marked as "
         "invalid",
         "550 5.1.1 <joe@example.com>: Recipient address rejected: undeliverable address: host "
         "mx.example.net[192.0.2.2] said: 554 5.7.1 Client host [192.0.2.1] blocked using x",
         "550 5.1.1 Rejected for policy reasons",
         "550 5.2.0 Message rejected, see our content rules",
         "550 192.0.2.1 is listed at dnsbl.example",
         "550 Mail from 192.0.2.1 refused",
         "550 Reverse DNS lookup failed",
         "550 Dynamic IP, use your provider's host"});
}

TEST_CASE("refusals that speak of the sender, at RCPT") {
    all_are(sender_refused,
            {"550 5.1.7 <x@a.example>: Sender address rejected: undeliverable address",
             "550 5.1.8 <x@a.example>: Sender address rejected: Domain not found",
             "550 5.1.0 <x@a.example>: Sender address rejected: User unknown in local recipient "
             "table",
             "550 5.1.0 <x@a.example>: Sender address rejected: User unknown in virtual mailbox "
             "table",
             "550 5.1.0 sender rejected",
             "554 5.1.0 Sender denied",
             "550 5.1.8 Access denied, bad outbound sender",
             "501 5.1.7 Invalid address",
             "553 5.1.8 <x@a.example>... Domain of sender address x@a.example does not exist"});
    all_are(policy,
            {"550-Verification failed for <x@a.example>|550-Unrouteable address|550 Sender verify "
             "failed",
             "550-Callback setup failed while verifying <x@a.example>|550 rejected",
             "553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)",
             "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
             "550 5.7.23 The message was rejected because of Sender Policy Framework violation",
             "553 5.7.1 <x@a.example>: Sender address rejected: not owned by user y",
             "550 non-local sender verification failed",
             "553 Requested action not taken: NULL sender is not allowed",
             "550 5.1.90 Your message can't be sent because you've reached your daily limit for "
             "message recipients",
             "550 5.1.20 Multiple From addresses are not allowed without Sender address"});
    CHECK(at_rcpt("504 5.5.2 <x>: Sender address rejected: need fully-qualified address") ==
          protocol_error);
    CHECK(at_rcpt("504 5.5.2 <x>: Helo command rejected: need fully-qualified hostname") ==
          protocol_error);
}

TEST_CASE("refusals that ask for authentication or STARTTLS") {
    all_are(
        auth_required,
        {"530 5.7.0 Must issue a STARTTLS command first",
         "530 5.7.1 Client was not authenticated",
         "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM",
         "530-5.5.1 Authentication Required. Learn more at|530 5.5.1 https://support.google.com",
         "530 SMTP authentication is required.",
         "535 5.7.8 Error: authentication failed",
         "550 authentication required",
         "550 5.7.1 <joe@example.com>... Relaying denied. Proper authentication required.",
         "550 5.7.1 Authentication Required",
         "551 This mail server requires authentication before sending mail from a locally "
         "hosted domain",
         "550 5.1.1 Authentication required"});
    CHECK(at_rcpt("503 This mail server requires authentication when attempting to send to a "
                  "non-local e-mail address.") == protocol_error);
}

TEST_CASE("refusals that speak of too much") {
    all_are(policy,
            {"550 5.2.1 The user you are trying to contact is receiving mail at a rate that "
             "prevents additional messages from being delivered.",
             "550-5.4.5 Daily user sending quota exceeded.|550 5.4.5 https://support.google.com",
             "552 5.2.2 Submission quota exceeded",
             "552 too many recipients",
             "550 Maximum recipients exceeded",
             "550 Max recipients per session exceeded",
             "550 Recipient limit reached",
             "550 Session limit reached",
             "550 recipient count exceeded",
             "550 no more recipients",
             "552 Message size exceeds fixed maximum message size",
             "552 5.3.4 Message size exceeds fixed limit",
             "550 Too many invalid recipients",
             "550 Rate limit exceeded",
             "552 5.2.3 Message exceeds maximum size for the recipient",
             "552 Requested action aborted: insufficient system storage"});
}

TEST_CASE("refusals that speak of a failure of the host") {
    all_are(policy,
            {"554 5.3.5 Local configuration error",
             "554 5.4.6 Hop count exceeded - possible mail loop",
             "550 5.4.310 DNS domain does not exist",
             "554 5.3.0 LDAP lookup failure",
             "550 LDAP server not reachable",
             "550 Temporary lookup failure",
             "550 Internal error",
             "550 Service unavailable",
             "550 Requested action not taken, please try again later",
             "550 server busy",
             "550 queue full",
             "550 mail server is in maintenance mode",
             "550 Directory server is down",
             "550 cannot connect to backend",
             "550 Backend failure",
             "550 Cannot check recipient",
             "550 Delayed, come back later",
             "550 please retry later",
             "550 Postgrey",
             "550 Mail loop detected",
             "550 Routing loop detected",
             "550 License expired",
             "550 5.1.1 Temporary failure in directory lookup",
             "550 5.1.1 user lookup failed, try again later",
             "550 5.1.2 LDAP server unreachable",
             "550 5.5.0 Requested action not taken: mailbox unavailable",
             "550 5.0.0 Rejected",
             "554 Transaction failed",
             "554 delivery error: This user doesn't have an account"});
}

TEST_CASE("a 4xx to RCPT is deferred, whatever else it says") {
    all_are(greylisted,
            {"450 4.2.0 <joe@example.com>: Recipient address rejected: Greylisted, see "
             "http://postgrey.schweikert.ch/help/example.com.html",
             "451 4.7.1 Greylisting in action, please come back later",
             "451 GreyListed: please try again later",
             "451-192.0.2.1 is not yet authorized to deliver mail from|451-<x@a.example>. Please "
             "try later.|451 Graylisted"});
    all_are(
        throttled,
        {"452 4.5.3 Too many recipients",
         "452 4.5.3 Error: too many recipients",
         "452-4.5.3 Your message has too many recipients.|452 4.5.3 https://support.google.com",
         "452 too many recipients",
         "450-4.2.1 The user you are trying to contact is receiving mail too quickly.|450 4.2.1 "
         "Please resend your message at a later time.",
         "450-4.2.1 The user you are trying to contact is receiving mail at a rate that|450 "
         "4.2.1 prevents additional messages from being delivered.",
         "451 4.7.0 Throttled, try later",
         "450 4.7.1 Error: too much mail from 192.0.2.1"});
    all_are(full_for_now,
            {"452 4.2.2 <joe@example.com> Quota exceeded (mailbox for user is full)",
             "452-4.2.2 The email account that you tried to reach is over quota.|452 4.2.2 x",
             "452 4.2.2 Over quota",
             "452 mailbox full",
             "452 Mailbox size limit exceeded",
             "450 4.2.2 mailbox 100% full"});
    all_are(deferred,
            {"450 4.1.1 <joe@example.com>: Recipient address rejected: unverified address: Address "
             "verification in progress",
             "450 4.1.1 <joe@example.com>: Recipient address rejected: User unknown",
             "450 5.1.1 User unknown",
             "450 4.1.7 <x@a.example>: Sender address rejected: unverified address",
             "454 4.7.1 <joe@example.com>: Relay access denied",
             "451 Temporary local problem - please try later",
             "451 4.3.0 <joe@example.com> Temporary internal error",
             "451 4.7.0 Temporary server error. Please try again later. PRX5",
             "451 4.7.500 Server busy. Please try again later from [192.0.2.1].",
             "452 4.3.1 Insufficient system resources",
             "451 Internal resources are temporarily unavailable - https://community.mimecast.com",
             "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]",
             "450 User unknown"});
}

TEST_CASE("a 421 at any stage, with any text, is the end of a session and no more") {
    for (const auto where : {stage::greeting,
                             stage::ehlo,
                             stage::helo,
                             stage::starttls,
                             stage::mail,
                             stage::rcpt,
                             stage::data}) {
        CHECK(at(where, "421 4.7.0 Too many connections from your host") == deferred_early);
        CHECK(at(where, "421 5.1.1 User unknown") == deferred_early);
    }
}

TEST_CASE("a refusal of MAIL is about the sender unless it speaks of us") {
    for (const std::string_view text :
         {"550 5.1.8 <x@a.example>: Sender address rejected: Domain not found",
          "553 5.1.8 <x@a.example>... Domain of sender address x@a.example does not exist",
          "554 5.1.0 Sender denied",
          "501 5.1.7 Invalid address",
          "553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)",
          "550 Sender address rejected",
          "552 5.3.4 Message size exceeds fixed maximum message size",
          "550 5.1.1 User unknown"}) {
        CAPTURE(std::string(text));
        CHECK(at_mail(text) == sender_refused);
    }
    for (const std::string_view text :
         {"554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
          "550 5.7.606 Access denied, banned sending IP [192.0.2.1]",
          "550 5.7.1 Your host is not welcome",
          "550 5.7.23 SPF validation failed",
          "550-5.7.26 Unauthenticated email from a.example is not accepted due to domain's "
          "DMARC|550 "
          "5.7.26 policy.",
          "550 5.7.25 The IP address sending this message does not have a PTR record setup"}) {
        CAPTURE(std::string(text));
        CHECK(at_mail(text) == client_refused);
    }
    CHECK(at_mail("530 5.7.0 Must issue a STARTTLS command first") == auth_required);
    CHECK(at_mail("550 5.7.1 Authentication required") == auth_required);
    CHECK(at_mail("503 5.5.1 Error: send HELO/EHLO first") == protocol_error);
    CHECK(at_mail("555 5.5.4 Unsupported option: SIZE=1") == protocol_error);
    CHECK(at_mail("550 5.4.5 Daily user sending quota exceeded") == policy);
    CHECK(at_mail("250 ok") == protocol_error);
}

TEST_CASE("what a reply repeats of the address is no evidence of policy") {
    const auto with_domain = [](std::string_view domain, std::string_view text) {
        return classify(from_wire(text), {stage::rcpt, true, domain});
    };
    CHECK(with_domain("example.com", "550 <spam@example.com>: unknown user") == unknown);
    CHECK(with_domain("blockchain.example", "550 joe unknown at blockchain.example") == unknown);
    CHECK(with_domain("blockchain.example", "550 BlockChain.Example: no such user") == unknown);
    CHECK(with_domain("blockchain.example", "550 <relay-spam@blockchain.example>... no") ==
          unknown);
    CHECK(with_domain("b.example", "550 <joe@b.example>:spam") == policy);
    CHECK(with_domain("b.example", "550 (joe@b.example:blocked)") == policy);
    // A domain is taken out as a whole name, never as a part of a word.
    CHECK(with_domain("e", "550 relaying denied") == policy);
    CHECK(with_domain("relay", "550 relay access prohibited") == policy);
    CHECK(with_domain("blocked", "550 blocked") == policy);
    CHECK(with_domain("", "550 blocked") == policy);
    CHECK(with_domain("locked.by", "550 blocked.by policy") == policy);
}

TEST_CASE("a rule matches what it names and anything else it leaves out") {
    const auto no_such =
        rule(stage::rcpt, 550, enhanced_code{5, 7, 1}, "(?i)no such user", reason::unknown_user);
    const auto with =
        [](const std::vector<classify_rule>& rules, stage where, std::string_view text) {
            return classify(from_wire(text), {where, true, "example.com"}, rules);
        };
    CHECK(with({no_such}, stage::rcpt, "550 5.7.1 No such user!") == unknown);
    CHECK(with({no_such}, stage::rcpt, "550-5.7.1 No such|550 5.7.1 user") == unknown);
    CHECK(with({no_such}, stage::data, "550 5.7.1 No such user!") == policy);
    CHECK(with({no_such}, stage::rcpt, "554 5.7.1 No such user!") == policy);
    CHECK(with({no_such}, stage::rcpt, "550 5.7.2 No such user!") == policy);
    CHECK(with({no_such}, stage::rcpt, "550 5.7.1 Spam") == policy);
    CHECK(with({no_such}, stage::rcpt, "450 5.7.1 No such user!") == deferred);

    const auto anything = rule(std::nullopt, std::nullopt, std::nullopt, "", reason::policy);
    CHECK(with({anything}, stage::rcpt, "550 5.1.1 User unknown") == policy);
    CHECK(with({no_such, anything}, stage::rcpt, "550 5.7.1 no such user") == unknown);
    CHECK(with({anything, no_such}, stage::rcpt, "550 5.7.1 no such user") == policy);
}

TEST_CASE("a rule that may not apply leaves the word to the next one and to the table") {
    const auto unknown_rule =
        rule(std::nullopt, std::nullopt, std::nullopt, "", reason::unknown_user);
    const auto greylist_rule =
        rule(std::nullopt, std::nullopt, std::nullopt, "", reason::greylisted);
    const auto full_rule = rule(std::nullopt, std::nullopt, std::nullopt, "", reason::mailbox_full);
    const auto skip_rule = rule(std::nullopt, std::nullopt, std::nullopt, "", reason::exempt);
    const auto with =
        [](const std::vector<classify_rule>& rules, stage where, std::string_view text) {
            return classify(from_wire(text), {where, true, "example.com"}, rules);
        };
    CHECK(with({unknown_rule}, stage::mail, "550 no") == sender_refused);
    CHECK(with({unknown_rule}, stage::greeting, "554 no") == client_refused);
    CHECK(with({unknown_rule}, stage::rcpt, "450 no") == deferred);
    CHECK(with({unknown_rule, greylist_rule}, stage::rcpt, "450 no") == greylisted);
    CHECK(with({greylist_rule}, stage::mail, "450 no") == deferred_early);
    CHECK(with({full_rule}, stage::rcpt, "552 5.7.1 no") == full);
    CHECK(with({full_rule}, stage::rcpt, "452 4.7.1 no") == full_for_now);
    CHECK(with({full_rule}, stage::mail, "452 4.7.1 no") == deferred_early);
    CHECK(with({skip_rule}, stage::rcpt, "550 5.1.1 no") == unknown);
    CHECK(with({rule(std::nullopt, std::nullopt, std::nullopt, "", reason::accepted)},
               stage::mail,
               "550 no") == sender_refused);
}

TEST_CASE("a rule speaks of the sender from MAIL on") {
    const auto sender_rule =
        rule(std::nullopt, std::nullopt, std::nullopt, "", reason::sender_refused);
    const auto policy_rule = rule(std::nullopt, std::nullopt, std::nullopt, "", reason::policy);
    for (const stage early : {stage::greeting, stage::ehlo, stage::helo, stage::auth}) {
        const reply_context context{early, true, "example.com"};
        const reply no = from_wire("550 5.1.8 no");
        CHECK(classify(no, context, {sender_rule}) == classify(no, context));
        CHECK(classify(no, context, {sender_rule, policy_rule}) == policy);
    }
    const reply_context at_mail{stage::mail, true, "example.com"};
    CHECK(classify(from_wire("550 5.7.1 no"), at_mail, {sender_rule}) == sender_refused);
}

TEST_CASE("the text of rules tells lists apart") {
    const auto one = rule(stage::rcpt, 550, std::nullopt, "a", reason::policy);
    const auto other = rule(stage::rcpt, 550, std::nullopt, "b", reason::policy);
    CHECK(text_of({}).empty());
    CHECK(text_of({one}) == text_of({one}));
    CHECK(text_of({one}) != text_of({other}));
    CHECK(text_of({one, other}) != text_of({other, one}));
}

TEST_CASE("the row that decided is named") {
    const auto row = [](stage at, const char* text) {
        return rule_that_fires(from_wire(text), {at, true, "example.com"}, {});
    };
    CHECK(row(stage::rcpt, "250 Ok") == "built-in: 2xx to RCPT: accepted");
    CHECK(row(stage::data, "250 Ok") == "built-in: 2xx as reply to data: out of place");
}

TEST_CASE("a pattern that is none is refused with a reason") {
    std::string error;
    CHECK_FALSE(compile_pattern("(", error));
    CHECK_FALSE(error.empty());
    error.clear();
    CHECK_FALSE(compile_pattern("(a{1000}){1000}", error));
    CHECK_FALSE(error.empty());
    error.clear();
    CHECK(compile_pattern("(?i)unknown|gone$", error));
    CHECK(error.empty());
}

}  // namespace callforward::smtpclient
