#include "milter/scope.h"

#include "milter/config.h"

#include <doctest/doctest.h>

#include <chrono>

using namespace callforward;
using namespace callforward::milter;
using smtpclient::reason;

namespace {

envelope from_outside() {
    envelope e;
    e.client_address = "192.0.2.77";
    e.mail = "<sender@remote.example>";
    return e;
}

settings configured(std::string_view text) {
    return parse_settings(text, "test.toml");
}

std::string decided(const settings& s, const std::string& to, const envelope& e = from_outside()) {
    const scope who(s);  // the entries that a decision names are its own
    const auto decision = who.decide(e, smtpclient::mailbox::parse(to).value());
    const std::string skip = decision.skip ? std::string(to_string(*decision.skip)) : "verify";
    return skip + " | " + decision.rule();
}

}  // namespace

TEST_CASE("with the defaults every recipient of a client from outside is verified") {
    CHECK(decided(default_settings(), "u@example.com") == "verify | domains: *");
    CHECK(decided(default_settings(), "u@[192.0.2.1]") == "verify | domains: *");
}

TEST_CASE("the most specific entry of the enable list wins") {
    const auto s = configured(R"([scope]
domains = ["example.com", ".example.com", "!never.example.com", "!.deep.example.com",
           "very.deep.example.com", "both.example", "!both.example", "!.dots.example",
           ".dots.example"])");
    struct row {
        std::string to;
        std::string decision;
    };
    for (const row& r : {
             row{"u@example.com", "verify | domains: example.com"},
             row{"u@EXAMPLE.com.", "verify | domains: example.com"},
             row{"u@a.example.com", "verify | domains: .example.com"},
             row{"u@a.b.example.com", "verify | domains: .example.com"},
             row{"u@never.example.com", "not_in_scope | domains: !never.example.com"},
             row{"u@sub.never.example.com", "verify | domains: .example.com"},
             row{"u@deep.example.com", "verify | domains: .example.com"},
             row{"u@x.deep.example.com", "not_in_scope | domains: !.deep.example.com"},
             row{"u@very.deep.example.com", "verify | domains: very.deep.example.com"},
             row{"u@both.example", "not_in_scope | domains: !both.example"},
             row{"u@x.dots.example", "not_in_scope | domains: !.dots.example"},
             row{"u@notexample.com", "not_in_scope | domains: no entry matches"},
             row{"u@com", "not_in_scope | domains: no entry matches"},
             row{"u@[192.0.2.1]", "not_in_scope | domains: no entry matches"},
         }) {
        CAPTURE(r.to);
        CHECK(decided(s, r.to) == r.decision);
    }
}

TEST_CASE("an entry with ! takes a domain out of *") {
    const auto s = configured("[scope]\ndomains = [\"*\", \"!never.example.com\", \"!.x.com\"]");
    CHECK(decided(s, "u@never.example.com").starts_with("not_in_scope"));
    CHECK(decided(s, "u@a.x.com").starts_with("not_in_scope"));
    CHECK(decided(s, "u@x.com") == "verify | domains: *");
}

TEST_CASE("U-labels and A-labels of the enable list are one") {
    const auto s = configured("[scope]\ndomains = [\"münchen.example\"]");
    CHECK(decided(s, "u@MÜNCHEN.example") == "verify | domains: xn--mnchen-3ya.example");
    CHECK(decided(s, "u@xn--mnchen-3ya.example").starts_with("verify"));
}

TEST_CASE("an empty enable list verifies nobody") {
    CHECK(decided(configured("[scope]\ndomains = []"), "u@example.com") ==
          "not_in_scope | domains: no entry matches");
}

TEST_CASE("clients are exempt by network, in whatever form the MTA writes the address") {
    const auto s = configured(R"([scope]
exempt_clients = ["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "::ffff:198.51.100.0/120", "::1"])");
    struct row {
        std::string client;
        std::string rule;  // "" for not exempt
    };
    for (const row& r : {
             row{"10.200.3.4", "exempt_clients: 10.0.0.0/8"},
             row{"10.1.3.4", "exempt_clients: 10.1.0.0/16"},
             row{"::ffff:10.2.3.4", "exempt_clients: 10.0.0.0/8"},
             row{"IPv6:::ffff:10.2.3.4", "exempt_clients: 10.0.0.0/8"},
             row{"IPv6:2001:DB8:1::2", "exempt_clients: 2001:db8::/32"},
             row{"IPv6:0:0:0:0:0:0:0:1", "exempt_clients: ::1/128"},
             row{"198.51.100.9", "exempt_clients: 198.51.100.0/24"},
             row{"11.0.0.1", ""},
             row{"IPv6:2001:db9::1", ""},
             row{"127.0.0.1", ""},
             row{"unknown", ""},
             row{"10.0.0.1 ", ""},
         }) {
        CAPTURE(r.client);
        auto e = from_outside();
        e.client_address = r.client;
        const std::string want = r.rule.empty() ? "verify | domains: *" : "exempt | " + r.rule;
        CHECK(decided(s, "u@example.com", e) == want);
    }
}

TEST_CASE("the default exempts loopback, and mail without a client") {
    auto e = from_outside();
    for (const char* local : {"127.0.0.1", "127.9.9.9", "IPv6:::1", "::ffff:127.0.0.1", ""}) {
        CAPTURE(local);
        e.client_address = local;
        CHECK(decided(default_settings(), "u@example.com", e).starts_with("exempt"));
    }
}

TEST_CASE("a client that has logged in is exempt unless the configuration says otherwise") {
    auto e = from_outside();
    e.authenticated = "somebody";
    CHECK(decided(default_settings(), "u@example.com", e) ==
          "exempt | exempt_authenticated: the client has logged in");
    const auto s = configured("[scope]\nexempt_authenticated = false");
    CHECK(decided(s, "u@example.com", e).starts_with("verify"));
}

TEST_CASE("recipients are exempt by local part or whole address, in any case") {
    const auto s = configured(R"([scope]
exempt_recipients = ["Postmaster", "Sales@Example.COM"])");
    CHECK(decided(s, "POSTMASTER@any.example") == "exempt | exempt_recipients: postmaster");
    CHECK(decided(s, "sales@example.com") == "exempt | exempt_recipients: sales@example.com");
    CHECK(decided(s, "sales@other.example").starts_with("verify"));
    CHECK(decided(s, "postmaster@[192.0.2.1]").starts_with("exempt"));
    CHECK(decided(default_settings(), "Abuse@example.com") == "exempt | exempt_recipients: abuse");
}

TEST_CASE("recipients with an address extension are exempt where the address without it is") {
    const auto s = configured(R"([scope]
exempt_recipients = ["postmaster", "sales@example.com", "sales+open@example.com", "+", "box+one"])");
    struct row {
        std::string to;
        std::string rule;  // "" for not exempt
    };
    for (const row& r : {
             row{"PostMaster+x@any.example", "postmaster"},
             row{"postmaster+x+y@[192.0.2.1]", "postmaster"},
             row{"Sales+News@Example.com", "sales@example.com"},
             row{"sales+open@example.com", "sales+open@example.com"},
             row{"sales+open+x@example.com", "sales@example.com"},
             row{"sales+news@other.example", ""},
             row{"box+one@example.com", "box+one"},
             row{"box+one+two@example.com", ""},  // cut at the first
             row{"box@example.com", ""},
             row{"sales-news@example.com", ""},
             row{"+@example.com", "+"},
             row{"+postmaster@example.com", ""},
         }) {
        CAPTURE(r.to);
        const std::string want =
            r.rule.empty() ? "verify | domains: *" : "exempt | exempt_recipients: " + r.rule;
        CHECK(decided(s, r.to) == want);
    }
}

TEST_CASE("senders are exempt by address, domain, sub-domain, or as the null sender") {
    const auto s = configured(R"([scope]
exempt_senders = ["Boss@Example.com", "partner.example", ".sub.example", "<>"])");
    struct row {
        std::string mail;
        bool exempt;
    };
    for (const row& r : {row{"<boss@EXAMPLE.com>", true},
                         row{"<other@example.com>", false},
                         row{"<x@partner.example>", true},
                         row{"<x@a.partner.example>", false},
                         row{"<x@a.sub.example>", true},
                         row{"<x@sub.example>", false},
                         row{"<>", true},
                         row{"", false},
                         row{"<broken", false}}) {
        CAPTURE(r.mail);
        auto e = from_outside();
        e.mail = r.mail;
        CHECK(decided(s, "u@example.com", e).starts_with("exempt") == r.exempt);
    }
    auto null_sender = from_outside();
    null_sender.mail = "<>";
    CHECK(decided(default_settings(), "u@example.com", null_sender).starts_with("verify"));
}

TEST_CASE("what the MTA rewrites is an alias, by address or by domain, in any case") {
    const auto s = configured(R"([routing]
virtual_aliases = ["Info@Example.com", "@alias.example"])");
    CHECK(decided(s, "INFO@example.com") == "alias | virtual_aliases: info@example.com");
    CHECK(decided(s, "any@ALIAS.example") == "alias | virtual_aliases: @alias.example");
    CHECK(decided(s, "any@sub.alias.example").starts_with("verify"));
    CHECK(decided(s, "other@example.com").starts_with("verify"));
}

TEST_CASE("an alias is found with an address extension, too, as in virtual(5)") {
    const auto s = configured(R"([routing]
virtual_aliases = ["sales@example.com", "sales+open@example.com", "@alias.example",
                   "one@alias.example", "+x@example.com", "box+one@example.com"])");
    struct row {
        std::string to;
        std::string rule;  // "" for no alias
    };
    for (const row& r : {
             row{"Sales+Newsletter@EXAMPLE.com", "sales@example.com"},
             row{"sales+open@example.com", "sales+open@example.com"},
             row{"sales+open+x@example.com", "sales@example.com"},
             row{"sales+@example.com", "sales@example.com"},
             // Before the whole domain.
             row{"one+x@alias.example", "one@alias.example"},
             row{"two+x@alias.example", "@alias.example"},
             row{"other+x@example.com", ""},
             row{"box+one@example.com", "box+one@example.com"},
             row{"box+one+two@example.com", ""},  // cut at the first
             // Nobody is called "": what begins so has no extension.
             row{"+x@example.com", "+x@example.com"},
             row{"+x+y@example.com", ""},
             row{"+alias@example.com", ""},
             row{"sales+x@[192.0.2.1]", ""},
         }) {
        CAPTURE(r.to);
        const std::string want =
            r.rule.empty() ? "verify | domains: *" : "alias | virtual_aliases: " + r.rule;
        CHECK(decided(s, r.to) == want);
    }
}

TEST_CASE("exemptions come before aliases, and aliases before the enable list") {
    const auto s = configured(R"([scope]
domains = []
[routing]
virtual_aliases = ["@example.com"])");
    CHECK(decided(s, "postmaster@example.com").starts_with("exempt"));
    CHECK(decided(s, "u@example.com").starts_with("alias"));
    CHECK(decided(s, "u@example.net").starts_with("not_in_scope"));
}

TEST_CASE("the rule names the list file and the line") {
    settings s = default_settings();
    s.scope.domains = {{"example.com", "/etc/x", 3}, {"example.com", "/etc/y", 4}};
    s.scope.exempt_clients = {{dns::network::parse("10.0.0.0/8").value(), "/etc/clients", 9}};
    CHECK(decided(s, "u@example.com") == "verify | domains: example.com (/etc/x:3)");
    auto e = from_outside();
    e.client_address = "10.0.0.1";
    CHECK(decided(s, "u@example.com", e) == "exempt | exempt_clients: 10.0.0.0/8 (/etc/clients:9)");
}

TEST_CASE("a look-up in lists of 100,000 entries does not walk through them") {
    settings s = default_settings();
    s.scope.domains.clear();
    for (int i = 0; i < 100'000; ++i) {
        const std::string number = std::to_string(i);
        s.scope.domains.push_back({'d' + number + ".example", "/etc/d", i + 1});
        s.scope.exempt_recipients.push_back({'r' + number, "", 0});
        s.scope.exempt_senders.push_back({"s@d" + number + ".example", "", 0});
        s.routing.virtual_aliases.push_back({"a@d" + number + ".example", "", 0});
        const std::string address = "10." + std::to_string(i >> 16 & 255) + '.' +
                                    std::to_string(i >> 8 & 255) + '.' + std::to_string(i & 255);
        s.scope.exempt_clients.push_back({dns::network::parse(address).value(), "", 0});
    }
    const scope built(s);
    const auto to = smtpclient::mailbox::parse("u@d99999.example").value();
    const auto e = from_outside();
    constexpr int times = 10'000;
    const auto begin = std::chrono::steady_clock::now();
    int verified = 0;
    for (int i = 0; i < times; ++i) verified += built.decide(e, to).skip ? 0 : 1;
    const auto took = std::chrono::steady_clock::now() - begin;
    CHECK(verified == times);
    // A walk through the five lists takes minutes; hash look-ups some milliseconds.
    CHECK(took < std::chrono::seconds(10));
}

TEST_CASE("the policy of a domain is its own, else that of the nearest suffix, else the default") {
    const auto s = configured(R"([policy]
port = 1
[domain."example.com"]
port = 2
[domain.".example.com"]
port = 3
[domain.".b.example.com"]
port = 4)");
    const auto port = [&](const char* to) {
        return policy_for(s, smtpclient::mailbox::parse(to).value()).transport->port;
    };
    CHECK(port("u@example.com") == 2);
    CHECK(port("u@Example.COM") == 2);
    CHECK(port("u@a.example.com") == 3);
    CHECK(port("u@b.example.com") == 3);
    CHECK(port("u@x.b.example.com") == 4);
    CHECK(port("u@y.x.b.example.com") == 4);
    CHECK(port("u@example.net") == 1);
    CHECK(port("u@com") == 1);
    CHECK(port("u@[192.0.2.1]") == 1);
}
