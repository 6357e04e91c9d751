// The rows of MTA-FACTS section 1, as they were seen at both MTAs.
#include "milter/mta_route.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace callforward;
using milter::mta_route;
using kind = milter::route_kind;

namespace {

milter::envelope envelope_of(const std::string& version,
                             const std::string& mailer,
                             const std::string& host,
                             const std::string& address = "u@a1.test",
                             const std::string& rcpt = "<u@a1.test>") {
    milter::envelope e;
    e.mta.version = version;
    e.rcpt_mailer = mailer;
    e.rcpt_host = host;
    e.rcpt_address = address;
    e.rcpt = rcpt;
    return e;
}

milter::envelope postfix(const std::string& mailer,
                         const std::string& host,
                         const std::string& address = "u@a1.test",
                         const std::string& rcpt = "<u@a1.test>") {
    return envelope_of("Postfix 3.7.11", mailer, host, address, rcpt);
}

milter::envelope sendmail(const std::string& mailer,
                          const std::string& host,
                          const std::string& address = "u@a1.test",
                          const std::string& rcpt = "<u@a1.test>") {
    return envelope_of("8.17.1.9", mailer, host, address, rcpt);
}

// "local", "not_understood", or the route's canonical text.
std::string shown(const mta_route& route) {
    switch (route.kind) {
        case kind::ask:
            return route.to.text();
        case kind::local:
            return "local";
        case kind::not_understood:
            return "not_understood";
    }
    return "?";
}

struct row {
    std::string mailer;
    std::string host;
    std::string expected;
};

// By itself, and in the memory of another route, whatever that has read before.
void check(const row& r, const milter::envelope& e, mta_route& again) {
    CAPTURE(r.mailer);
    CAPTURE(r.host);
    const mta_route fresh = route_from_macros(e, {});
    CHECK(shown(fresh) == r.expected);
    for (int i = 0; i < 2; ++i) {
        route_from_macros(e, {}, again);
        CHECK(shown(again) == r.expected);
        CHECK(again.why == fresh.why);
    }
}

}  // namespace

TEST_CASE("Postfix's transports and next hops are read as Postfix reads them") {
    const std::vector<row> rows{
        {"smtp", "[127.0.0.1]:2525", "[127.0.0.1]:2525"},
        {"relay", "[host.example]:25", "[host.example]:25"},
        {"lmtp", "unix:/path", "lmtp:unix:/path"},
        {"lmtp", "unix:private/x", "lmtp:unix:/var/spool/postfix/private/x"},
        {"lmtp", "unix:/run/a,b c", "lmtp:unix:/run/a,b c"},
        {"lmtp", "inet:127.0.0.1:24", "lmtp:[127.0.0.1]:24"},
        {"lmtp", "[127.0.0.1]:24", "lmtp:[127.0.0.1]:24"},
        {"lmtp", "host.example", "lmtp:[host.example]"},
        {"lmtp", "inet:host.example", "lmtp:[host.example]"},
        {"lmtp", "inet:h1.example, h2.example:2424", "lmtp:[h1.example],lmtp:[h2.example]:2424"},
        {"lmtp", "[::1]:lmtp", "lmtp:[::1]:24"},
        {"relay", "a5.test", "a5.test"},
        {"relay", "a1.test", "mx"},
        {"smtp", "A1.Test", "mx"},
        {"smtp", "host.example", "host.example"},
        {"smtp", "host.example:2525", "host.example:2525"},
        {"smtp", "host.example:submission", "host.example:587"},
        {"relay", "[192.0.2.9]", "[192.0.2.9]"},
        {"smtp",
         "[h1.example]:25, [h2.example]:2525, h3.example",
         "[h1.example]:25,[h2.example]:2525,h3.example"},
        {"smtp", "h1.example\t,\r\n h2.example,,", "h1.example,h2.example"},
        {"smtp", "[ipv6:::1]:2525", "[::1]:2525"},
        {"smtp", "[::1]:2526", "[::1]:2526"},
        {"smtp", "[127.0.0.1]:smtp", "[127.0.0.1]:25"},
        {"SMTP", "[HOST.Example]:25", "[host.example]:25"},
        {"smtp", "MÜNCHEN.test", "xn--mnchen-3ya.test"},
        {"discard", "silently", "local"},
        {"error", "5.1.1 User unknown in virtual alias table", "local"},
        {"retry", "4.0.0 later", "local"},
        {"local", "mx.test", "local"},
        {"virtual", "vmb.test", "local"},
        {"maildrop", "a1.test", "local"},
        {"uucp", "a1.test", "local"},
        {"Cyrus", "a1.test", "local"},
        {"", "a1.test", "local"},
        {"smtp", "", "local"},
        {"", "", "local"},
        {"myrelay", "[127.0.0.1]:2525", "not_understood"},
        {"esmtp", "[127.0.0.1]", "not_understood"},
        {"smtp", "unix:/path", "not_understood"},
        {"smtp", "inet:127.0.0.1:24", "not_understood"},
        {"smtp", "[h1.example", "not_understood"},
        {"smtp", "h1.example:0", "not_understood"},
        {"smtp", "h1.example:65536", "not_understood"},
        {"smtp", "h1.example:nosuchservice", "not_understood"},
        {"smtp", "h1.example, h 2\x01.example", "not_understood"},
        {"smtp", ", ,", "not_understood"},
        {"lmtp", "unix:", "not_understood"},
        {"lmtp", "unix:/" + std::string(107, 'x'), "not_understood"},
        {"lmtp", std::string("unix:/run/x\0y", 13), "not_understood"},
        {"smtp", std::string(20000, 'x'), "not_understood"},
    };
    mta_route again;
    for (const auto& r : rows) check(r, postfix(r.mailer, r.host), again);
}

TEST_CASE("Sendmail's mailers and hosts are read as Sendmail reads them") {
    const std::vector<row> rows{
        {"esmtp", "[127.0.0.1]", "[127.0.0.1]"},
        {"relay", "host.example", "host.example"},
        {"smtp", "x.hub.example", "x.hub.example"},
        {"smtp8", "bar.example", "bar.example"},
        {"dsmtp", "bar.example", "bar.example"},
        {"esmtp", "h1.example:h2.example", "h1.example,h2.example"},
        {"esmtp", "[h1.example]:[h2.example]", "[h1.example],[h2.example]"},
        {"esmtp", "[ipv6:::1]", "[::1]"},
        {"esmtp", "[ipv6:::1]:h2.example.", "[::1],h2.example"},
        {"esmtp", "h1.example.::h2.example.", "h1.example,h2.example"},
        {"esmtp", "nomt.test.", "nomt.test"},
        {"esmtp", "a1.test.", "mx"},
        {"relay", "[smart.example]", "[smart.example]"},
        {"lmtp", "host.example", "lmtp:[host.example]"},
        {"local", "", "local"},
        {"local", "a1.test", "local"},
        {"prog", "a1.test", "local"},
        {"*file*", "a1.test", "local"},
        {"*include*", "a1.test", "local"},
        {"procmail", "a1.test", "local"},
        {"usenet", "a1.test", "local"},
        {"cyrusv2", "a1.test", "local"},
        {"error", "5.1.1", "local"},
        // The ':' separates hosts, and 2525 is none: Sendmail defers what it sends there.
        {"esmtp", "[127.0.0.1]:2525", "not_understood"},
        {"smtp", "host.example:2525", "not_understood"},
        {"esmtp2525", "[127.0.0.1]", "not_understood"},
        {"lmtpunix", "a1.test", "not_understood"},
        {"esmtp", "[127.0.0.1", "not_understood"},
        {"esmtp", "::", "not_understood"},
    };
    mta_route again;
    for (const auto& r : rows) check(r, sendmail(r.mailer, r.host), again);
}

TEST_CASE("An MTA that gives no version is taken for Sendmail") {
    const auto e = envelope_of("", "esmtp", "h1.example:h2.example");
    CHECK(shown(route_from_macros(e, {})) == "h1.example,h2.example");
}

TEST_CASE("[routing] mailers names transports, sets ports, and wins over the built-in names") {
    milter::routing_settings settings;
    settings.queue_directory = "/srv/spool";
    settings.mailers["myrelay"] = {};
    settings.mailers["esmtp2525"] = {false, smtpclient::protocol::smtp, 2525};
    settings.mailers["lmtp24"] = {false, smtpclient::protocol::lmtp, 0};
    settings.mailers["dovecot"] = {false, smtpclient::protocol::lmtp, 2424};
    settings.mailers["relay"] = {true, smtpclient::protocol::smtp, 0};
    const std::vector<row> with_postfix{
        {"myrelay", "[127.0.0.1]:2525", "[127.0.0.1]:2525"},
        {"MyRelay", "host.example", "host.example"},
        {"esmtp2525", "h1.example, h2.example:26", "h1.example:2525,h2.example:26"},
        {"esmtp2525", "a1.test", "a1.test:2525"},
        {"dovecot", "host.example", "lmtp:[host.example]:2424"},
        {"dovecot", "unix:private/lmtp", "lmtp:unix:/srv/spool/private/lmtp"},
        {"relay", "a5.test", "local"},
    };
    for (const auto& r : with_postfix) {
        CAPTURE(r.mailer);
        CHECK(shown(route_from_macros(postfix(r.mailer, r.host), settings)) == r.expected);
    }
    CHECK(shown(route_from_macros(sendmail("esmtp2525", "[127.0.0.1]"), settings)) ==
          "[127.0.0.1]:2525");
    CHECK(shown(route_from_macros(sendmail("lmtp24", "mail.example."), settings)) ==
          "lmtp:[mail.example]");
}

TEST_CASE("The address to send is the client's if the MTA changed only its case") {
    struct address {
        std::string given;
        std::string macro;
        std::string expected;
    };
    const std::vector<address> rows{
        {"<User@A1.TEST>", "user@a1.test", "User@A1.TEST"},
        {"User@A1.TEST", "user@a1.test", "User@A1.TEST"},
        {"<u+ext@a1.test>", "u+ext@a1.test", "u+ext@a1.test"},
        {"<\"quoted local\"@a1.test>", "\"quoted local\"@a1.test", "\"quoted local\"@a1.test"},
        {"<\"a.b\"@a1.test>", "a.b@a1.test", "a.b@a1.test"},
        {"a1.test!u", "u@a1.test", "u@a1.test"},
        {"<@a2.test:u@a1.test>", "u@a1.test", "u@a1.test"},
        {"<u@a1.test.>", "u@a1.test", "u@a1.test"},
        {"<u@b@a1.test>", "\"u@b\"@a1.test", "\"u@b\"@a1.test"},
        {"<u@cn.test>", "u@real.cn.test", "u@real.cn.test"},
        {"<u@a1.test (comment)>", "u@a1.test", "u@a1.test"},
        {"<target@vdom.test>", "target@a2.test", "target@a2.test"},
        {"<J\xc3\xbcrgen@M\xc3\x9cNCHEN.test>",
         "j\xc3\xbcrgen@m\xc3\xbcnchen.test",
         "J\xc3\xbcrgen@M\xc3\x9cNCHEN.test"},
        {"<\xc3\x9c@A1.TEST>", "\xc3\xbc@a1.test", "\xc3\x9c@A1.TEST"},
        {"<\xc3\x9c@a2.test>", "\xc3\xbc@a1.test", "\xc3\xbc@a1.test"},
        {"<root>", "root@mx.test", "root@mx.test"},
        {"<>", "u@a1.test", "u@a1.test"},
        {"<", "u@a1.test", "u@a1.test"},
        {"", "u@a1.test", "u@a1.test"},
    };
    for (const auto& r : rows) {
        CAPTURE(r.given);
        CHECK(route_from_macros(postfix("smtp", "[h.example]", r.macro, r.given), {}).rcpt ==
              r.expected);
        CHECK(route_from_macros(sendmail("smtp", "[h.example]", r.macro, r.given), {}).rcpt ==
              r.expected);
    }
}

TEST_CASE("Without a macro for the address, the recipient is local and named as the client did") {
    const auto route = route_from_macros(postfix("smtp", "h.example", "", "<u@a1.test>"), {});
    CHECK(route.kind == kind::local);
    CHECK(route.rcpt == "u@a1.test");
}

TEST_CASE("Advice is for the operator, in printable words") {
    CHECK(route_from_macros(postfix("myrelay", "h.example"), {}).why ==
          "unknown transport \"myrelay\": name it in [routing] mailers");
    CHECK(route_from_macros(sendmail("esmtp2525", "h.example"), {}).why ==
          "unknown mailer \"esmtp2525\": name it in [routing] mailers");
    CHECK(route_from_macros(postfix("virtual", "vmb.test"), {}).why ==
          "nobody to ask: it goes to the transport \"virtual\"");
    CHECK(route_from_macros(sendmail("local", ""), {}).why ==
          "nobody to ask: it goes to the mailer \"local\"");
    CHECK(route_from_macros(postfix("", ""), {}).why.empty());
    const auto forged = route_from_macros(postfix("x\nid=1\x1b[0m", "h.example"), {});
    CHECK(forged.why.find('\n') == std::string::npos);
    CHECK(forged.why.find('\x1b') == std::string::npos);
    const auto port = route_from_macros(sendmail("esmtp", "[127.0.0.1]:2525"), {});
    CHECK(port.why.find("\"2525\"") != std::string::npos);
    CHECK(port.why.find("[routing] mailers") != std::string::npos);
}

TEST_CASE("A route of an MTA that may be a Postfix of another name comes with what to do then") {
    const std::string cause = "milter_macro_v = Postfix $mail_version";
    mta_route again;
    const auto advice = [&](const std::string& version, const std::string& host) {
        const auto e = envelope_of(version, "esmtp", host);
        const auto fresh = route_from_macros(e, {});
        route_from_macros(e, {}, again);
        CHECK(again.why == fresh.why);
        return fresh.why;
    };
    for (const char* const host : {"[127.0.0.1]:2525", "h1.example, h2.example"}) {
        CAPTURE(host);
        CHECK(advice("8.17.1.9", host).find(cause) == std::string::npos);
        CHECK(advice("ACME 3.7.11", host).find(cause) != std::string::npos);
        CHECK(advice("postfix", host).find(cause) != std::string::npos);
        CHECK(advice("", host).find(cause) != std::string::npos);
        CHECK(advice("8.17.1.9", host).find(cause) == std::string::npos);
    }
    CHECK(route_from_macros(envelope_of("ACME 3", "myrelay", "h.example"), {}).why.find(cause) !=
          std::string::npos);
    CHECK(route_from_macros(postfix("myrelay", "h.example"), {}).why.find(cause) ==
          std::string::npos);
    CHECK(advice("ACME 3.7.11", "h.example").empty());
}

TEST_CASE("No more than 32 hops are taken, and the log hears of it") {
    std::string list;
    for (int i = 0; i < 32; ++i) list += "h" + std::to_string(i) + ".example ";
    const auto full = route_from_macros(postfix("smtp", list), {});
    CHECK(full.to.hops.size() == 32);
    CHECK(full.why.empty());
    const auto more = route_from_macros(postfix("smtp", list + "h32.example"), {});
    CHECK(more.kind == kind::ask);
    CHECK(more.to.hops.size() == 32);
    CHECK(more.to.hops.back().host == "h31.example");
    CHECK_FALSE(more.why.empty());
}
