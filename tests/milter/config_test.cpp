#include "milter/config.h"

#include "tests/milter/scratch_folder.h"

#include <doctest/doctest.h>
#include <re2/re2.h>

using namespace callforward;
using namespace callforward::milter;

namespace {

std::string error_of(std::string_view text, const std::vector<std::string>& overrides = {}) {
    try {
        (void)parse_settings(text, "callforward.toml", overrides);
    } catch (const config_error& error) {
        return error.what();
    }
    return "no error";
}

settings read(std::string_view text, const std::vector<std::string>& overrides = {}) {
    return parse_settings(text, "callforward.toml", overrides);
}

}  // namespace

TEST_CASE("an empty file is a working configuration, the default one") {
    CHECK(to_toml(read("")) == to_toml(default_settings()));
    CHECK(read("").scope.exempt_clients.size() == 2);
    CHECK(read("").routing.deny.size() == 6);
}

TEST_CASE("errors name file, line and column, and the nearest name") {
    struct row {
        std::string text;
        std::string error;
    };
    const std::string at = "callforward.toml:";
    for (
        const row& r : {
            row{"[policy]\n\ntiemout = \"5s\"",
                at + "3:1: unknown key \"tiemout\" in [policy]; did you mean \"timeout\"?"},
            row{"[polcy]", at + "1:2: unknown section \"polcy\"; did you mean \"policy\"?"},
            row{"port = 25", at + "1:1: unknown section \"port\"; \"port\" belongs below [policy]"},
            row{"mode = \"monitor\"",
                at + "1:1: unknown section \"mode\"; \"mode\" belongs below [policy]"},
            row{"[policy]\npending = 5",
                at +
                    "2:1: unknown key \"pending\" in [policy]; \"pending\" belongs below [limits]"},
            row{"[control]\nlisten_at = \"\"",
                at + "2:1: unknown key \"listen_at\" in [control]; it is one of: socket"},
            row{"[policy]\non_deferred = \"defer\"",
                at + "2:15: \"on_deferred\" in [policy] can not be \"defer\"; did you mean "
                     "\"tempfail\"? (reject, tempfail, accept)"},
            row{"[policy]\nroute = [\"relay:[10.0.0.5]\"]",
                at + "2:10: \"route\" in [policy] has a bad next hop: unknown prefix \"relay:\"; "
                     "there are smtp:, smtps: and lmtp:"},
            row{"[domain.\"a.example\"]\n  prot = 26",
                at + "2:3: unknown key \"prot\" in [domain.\"a.example\"]; did you mean \"port\"?"},
            row{"[limits]\npendin = 5",
                at + "2:1: unknown key \"pendin\" in [limits]; did you mean \"pending\"?"},
            row{"[[classify]]\nas = \"policy\"\ncod = 550",
                at + "3:1: unknown key \"cod\" in [[classify]]; did you mean \"code\"?"},
            row{"[policy]\nport = \"25\"",
                at + "2:8: \"port\" in [policy] must be an integer, not a string"},
            row{"[policy]\nport = 0",
                at + "2:8: \"port\" in [policy] must be from 1 to 65535, not 0"},
            row{"[policy]\nmode = \"enfroce\"",
                at + "2:8: \"mode\" in [policy] can not be \"enfroce\"; did you mean \"enforce\"? "
                     "(enforce, monitor, off)"},
            row{"[policy]\ntimeout = 5",
                at + "2:11: \"timeout\" in [policy] needs a unit: write \"5s\" for seconds, with "
                     "quotes (units are ms, s, m, h, d)"},
            row{"[policy]\ntimeout = \"5\"",
                at + "2:11: \"timeout\" in [policy] must be one number with a unit (ms, s, m, h, "
                     "d), as in \"8s\", not \"5\""},
            row{"policy = 3", at + "1:10: [policy] must be a table, not an integer"},
            row{"[scope]\ndomains = \"example.com\"",
                at + "2:11: \"domains\" in [scope] must be an array of strings, not a string"},
            row{"[scope]\ndomains = [\"a.example\",\n  \"b c\"]",
                at + "3:3: \"domains\" in [scope] has a bad entry: \"b c\" is none of "
                     "\"example.com\", \".example.com\", \"!example.com\", \"*\""},
            row{"[domain.example.com]\nport = 26",
                at + "1:17: a domain needs quotes: [domain.\"example.com\"]"},
            row{"[domain.\"*\"]",
                at + "1:9: [domain.\"*\"]: what holds for all domains stands in [policy]"},
            row{"[domain.\"A.example\"]\n[domain.\"a.example\"]",
                at + "2:9: [domain.\"a.example\"]: there is another table for this domain"},
            row{"[scope]\n#domains = []\n\n [ scope ]  # mine\ndomains = []",
                at + "4:2: the table [ scope ] is already at line 1: put the keys there"},
            row{"\n[domain.\"a.example\"]\n[scope]\n[domain.'a.example']\nport = 26",
                at + "4:1: the table [domain.'a.example'] is already at line 2: put the keys "
                     "there"},
            row{"policy.port = 26\n[policy]\nhelo = \"\"",
                at + "2:1: the table [policy] is already at line 1: put the keys there"},
            row{"[policy]\nport = 5\n[scope]\ndomains = [\n]\ndomains = [\n]",
                at + "6:11: the key domains is already at line 4: leave one of them"},
            row{"[policy]\n\"port\" = 5\nport = \"= #\"",
                at + "3:8: the key port is already at line 2: leave one of them"},
            row{"[[classify]]\nas = \"policy\"\n[[classify]]\ncode = 550\ncode = 551",
                at + "5:8: the key code is already at line 4: leave one of them"},
        }) {
        CAPTURE(r.text);
        CHECK(error_of(r.text) == r.error);
    }
}

TEST_CASE("a syntax error names its place") {
    CHECK(error_of("[policy]\nport = = 5").starts_with("callforward.toml:2:8: "));
    CHECK(error_of("[policy]\nport = 5\nport = 6").starts_with("callforward.toml:3:"));
    CHECK(error_of(std::string("[policy]\0", 9)).starts_with("callforward.toml:1:"));
    CHECK(error_of(std::string(3000, '[')) != "no error");
    CHECK(error_of("[policy]\nhelo = \"\xff\"").starts_with("callforward.toml:2:"));
}

TEST_CASE("deep nesting is refused, however it is written, and dots in strings are no nesting") {
    std::string dotted = "a";
    for (int i = 0; i < 200'000; ++i) dotted += ".a";
    const auto repeated = [](std::string_view part) {
        std::string all = "x = ";
        for (int i = 0; i < 200'000; ++i) all += part;
        return all;
    };
    const std::string last = dotted + " = 1";
    for (const std::string& deep : {last,
                                    '[' + dotted + ']',
                                    "[[" + dotted + "]]",
                                    "x = {" + last + '}',
                                    "x = {a = \"\"\"b\"\"\"\"\", " + last + '}',
                                    "x = {a = '''b''''', " + last + '}',
                                    "x = {a = \"\\\"\", " + last + '}',
                                    "x = {a = \"\", b = '', " + last + '}',
                                    repeated("["),
                                    repeated("{a = ")}) {
        CAPTURE(deep.substr(0, 30));
        CHECK(error_of(deep).starts_with("callforward.toml:1:"));
    }
    CHECK(error_of("[log]\n" + last) ==
          "callforward.toml:2:34: too many dots outside of quotes: a string needs its quotes");
    CHECK(error_of("# " + dotted + "\n# it's \"" + dotted) == "no error");
    CHECK(error_of("a.b.c.d.e.f.g.h.i.j.k = 1").find("unknown section \"a\"") != std::string::npos);
    std::string list = "[scope]\ndomains = [";
    for (int i = 0; i < 100; ++i) list += R"("a.b.example", 'd.example', """f.example""", )";
    CHECK(read(list + ']').scope.domains.size() == 300);
    CHECK(error_of("", {"policy." + dotted + "=1"}).find("too many dots") != std::string::npos);
}

TEST_CASE("all findings are reported, one a line, in the order of the file") {
    CHECK(error_of("[policy]\nport = 0\n[milter]\nsocket = 5\n[log]\nlevel = \"all\"") ==
          "callforward.toml:2:8: \"port\" in [policy] must be from 1 to 65535, not 0\n"
          "callforward.toml:4:10: \"socket\" in [milter] must be a string, not an integer\n"
          "callforward.toml:6:9: \"level\" in [log] can not be \"all\"; it is one of: "
          "error, warning, info, debug");
    std::string many = "[policy]\n";
    for (int i = 0; i < 150; ++i) many += 'x' + std::to_string(i) + " = 1\n";
    CHECK(error_of(many).ends_with("\nand 50 more"));
}

TEST_CASE("text of a file can not forge a finding") {
    CHECK(error_of("[policy]\n\"a\\nb.toml:1:1: x\" = 1").find('\n') == std::string::npos);
    CHECK(error_of("[policy]\nhelo = \"a\\u001b[2Jb\"").find('\x1b') == std::string::npos);
}

TEST_CASE("--set wins over the file, and the last one over the others") {
    const auto s = read("[policy]\nport = 1\nhelo = \"a.example\"",
                        {"policy.port=2", "policy.port=3", "log.level=\"debug\""});
    CHECK(s.default_policy.transport->port == 3);
    CHECK(s.default_policy.transport->helo == "a.example");
    CHECK(s.log.level == log_level::debug);
    // A value that is replaced is not looked at.
    CHECK(read("[policy]\nport = 0", {"policy.port=4"}).default_policy.transport->port == 4);
    CHECK(
        read("", {"domain.\"a.example\".port=5"}).domain_policies.at("a.example").transport->port ==
        5);
    CHECK(read("", {"scope.domains=[\"a.example\"]"}).scope.domains.size() == 1);
}

TEST_CASE("an error in --set names the argument") {
    CHECK(error_of("", {"policy.tiemout=\"5s\""}) ==
          "--set policy.tiemout=\"5s\": unknown key \"tiemout\" in [policy]; did you mean "
          "\"timeout\"?");
    CHECK(error_of("[policy]\nport = 1", {"policy.port=0"}) ==
          "--set policy.port=0: \"port\" in [policy] must be from 1 to 65535, not 0");
    CHECK(error_of("", {"policy.port"}) ==
          "--set policy.port: write SECTION.KEY=VALUE, in one line");
    CHECK(error_of("", {"policy.port=1\n[log]\nlevel=1"}).ends_with("in one line"));
    CHECK(error_of("", {"log.level=debug"})
              .ends_with("; a string needs its quotes: 'log.level=\"debug\"'"));
    CHECK(error_of("", {"port=5"}).starts_with("--set port=5: unknown section \"port\""));
}

TEST_CASE("a domain's policy starts from [policy], wherever that stands") {
    const auto s = read(R"([domain."Example.COM"]
port = 2525
[domain.".münchen.example"]
route = "mx"
[policy]
helo = "me.example"
on_deferred = "accept"
route = "[10.0.0.1]:26")");
    const policy& exact = s.domain_policies.at("example.com");
    CHECK(exact.transport->port == 2525);
    CHECK(exact.transport->helo == "me.example");
    CHECK(exact.on_deferred == action::accept);
    CHECK(exact.hops.size() == 1);
    const policy& below = s.domain_policies.at(".xn--mnchen-3ya.example");
    CHECK(below.route == route_choice::mx);
    CHECK(below.hops.empty());
    CHECK(below.transport->port == 25);
    CHECK(s.default_policy.transport->port == 25);
}

TEST_CASE("rules of [[classify]] reach every policy, in their order") {
    const auto s = read(R"([[classify]]
stage = "rcpt"
code = 550
enhanced = "5.7.1"
text = "(?i)no such user"
as = "unknown_user"
[[classify]]
as = "policy"
[domain."a.example"]
port = 26)");
    for (const policy* p : {&s.default_policy, &s.domain_policies.at("a.example")}) {
        const auto& rules = p->transport->rules;
        REQUIRE(rules.size() == 2);
        CHECK(rules[0].stage == smtpclient::stage::rcpt);
        CHECK(rules[0].code == 550);
        CHECK(rules[0].enhanced == smtpclient::enhanced_code{5, 7, 1});
        CHECK(rules[0].text->pattern() == "(?i)no such user");
        CHECK(rules[0].as == smtpclient::reason::unknown_user);
        CHECK(!rules[1].stage);
        CHECK(rules[1].as == smtpclient::reason::policy);
    }
}

TEST_CASE("a rule that can not be meant is refused") {
    struct row {
        std::string rule;
        std::string error;
    };
    for (const row& r : {
             row{"as = \"unknown_usr\"", "did you mean \"unknown_user\"?"},
             row{"as = \"exempt\"", "can not be \"exempt\": a reply that came was not skipped"},
             row{"code = 550", "\"as\" in [[classify]] is missing: it names the reason"},
             row{"stage = \"mail\"\nas = \"unknown_user\"",
                 "only for stage \"rcpt\" or \"data\": an earlier reply says nothing about the "
                 "recipient"},
             row{"stage = \"greeting\"\nas = \"sender_refused\"",
                 "can be \"sender_refused\" only for stage \"mail\" or later: nobody has named a "
                 "sender before"},
             row{"code = 450\nas = \"unknown_user\"",
                 "\"as\" in [[classify]] can be \"unknown_user\" only for a code from 500 to 599, "
                 "not for 450: a reply that puts off never becomes a refusal"},
             row{"code = 452\nas = \"moved\"", "can be \"moved\" only for a code from 500"},
             row{"code = 250\nas = \"mailbox_full\"",
                 "only for a code from 400 to 599, not for 250"},
             row{"code = 450\nas = \"sender_refused\"", "only for a code from 500 to 599"},
             row{"stage = \"connect\"\nas = \"policy\"", "can not be \"connect\""},
             row{"stage = \"rctp\"\nas = \"policy\"", "did you mean \"rcpt\"?"},
             row{"code = 600\nas = \"policy\"", "must be from 200 to 599, not 600"},
             row{"enhanced = \"5.7\"\nas = \"policy\"", "must be an enhanced code"},
             row{"enhanced = \"5.7.1 x\"\nas = \"policy\"", "must be an enhanced code"},
             row{"text = \"(\"\nas = \"policy\"", "is not a regular expression (RE2): missing )"},
         }) {
        CAPTURE(r.rule);
        CHECK(error_of("[[classify]]\n" + r.rule).find(r.error) != std::string::npos);
    }
    CHECK(error_of("[[classify]]\nstage = \"data\"\nas = \"disabled\"") == "no error");
    CHECK(error_of("[[classify]]\nas = \"disabled\"") == "no error");
    CHECK(error_of("[[classify]]\ncode = 452\nas = \"mailbox_full\"") == "no error");
    CHECK(error_of("[[classify]]\ncode = 450\nas = \"greylisted\"") == "no error");
    CHECK(error_of("[[classify]]\ncode = 550\nas = \"greylisted\"") == "no error");
    CHECK(error_of("classify = 5") ==
          "callforward.toml:1:12: classify is an array of tables: write [[classify]]");
}

TEST_CASE("the fingerprint tells apart what a verdict depends on, and nothing else") {
    const auto of = [](const std::string& text) { return read(text).default_policy.fingerprint; };
    const std::string usual = of("");
    CHECK(usual == "sender=original helo= port=25 tls=may tls_min=1.2 rules=none");
    for (const char* other : {"[policy]\nsender = \"null\"",
                              "[policy]\nsender = \"a@b.example\"",
                              "[policy]\nhelo = \"a.example\"",
                              "[policy]\nport = 26",
                              "[policy]\nxclient = true",
                              "[policy]\nproxy_protocol = true",
                              "[policy]\nprobe_until = \"data\"",
                              "[policy]\nsender_fallback = \"null\"",
                              "[policy]\nsource_address = [\"192.0.2.1\"]",
                              "[policy]\ntls = \"encrypt\"",
                              "[policy]\ntls_min = \"1.3\"",
                              "[[classify]]\nas = \"policy\""}) {
        CAPTURE(other);
        CHECK(of(other) != usual);
    }
    CHECK(of("[[classify]]\ntext = \"a\"\nas = \"policy\"") !=
          of("[[classify]]\ntext = \"b\"\nas = \"policy\""));
    CHECK(of("[policy]\ntimeout = \"9s\"\nmode = \"off\"\non_refused = \"accept\"") == usual);
    CHECK(default_settings().default_policy.fingerprint == usual);
}

TEST_CASE("list files are read, and their mistakes name file and line") {
    const tests::scratch_folder folder;
    const std::string domains =
        folder.write("domains", "# ours\nExample.com  comment\n!x.example\n");
    const auto s = parse_settings("[scope]\ndomains = [\"a.example\", \"@" + domains + "\"]", "x");
    REQUIRE(s.scope.domains.size() == 3);
    CHECK(s.scope.domains[1].text == "example.com");
    CHECK(s.scope.domains[1].file == domains);
    CHECK(s.scope.domains[1].line == 2);
    CHECK(s.scope.domains[0].file.empty());
    const std::string bad = folder.write("bad", "ok.example\n\nnot/good\n");
    CHECK(error_of("[scope]\ndomains = [\"@" + bad + "\"]") ==
          bad +
              ":3: \"domains\" in [scope] has a bad entry: \"not/good\" is none of "
              "\"example.com\", \".example.com\", \"!example.com\", \"*\"");
    CHECK(error_of("[scope]\ndomains = [\"@/no/such\"]") ==
          "callforward.toml:2:12: \"domains\" in [scope] names the file \"/no/such\": No such file "
          "or directory");
    const std::string binary = folder.write("binary", std::string_view("a\n\0", 3));
    CHECK(error_of("[scope]\nexempt_clients = [\"@" + binary + "\"]").starts_with(binary + ":2: "));
}

TEST_CASE("a relative list file is looked for beside the configuration") {
    const tests::scratch_folder folder;
    folder.write("domains", "a.example\n");
    const std::string file = folder.write("c.toml", "[scope]\ndomains = [\"@domains\"]");
    CHECK(load_settings(file, {}, false).scope.domains.front().text == "a.example");
}

TEST_CASE("a Postfix virtual file is a list of aliases") {
    const tests::scratch_folder folder;
    const std::string file = folder.write("virtual",
                                          "# virtual(5)\nexample.com anything\n"
                                          "Info@example.com a@b.example,\n    c@d.example\n"
                                          "root admin@example.com\n@old.example @new.example\n");
    const auto s = read("[routing]\nvirtual_aliases = [\"@" + file + "\", \"@more.example\"]");
    REQUIRE(s.routing.virtual_aliases.size() == 3);
    CHECK(s.routing.virtual_aliases[0].text == "info@example.com");
    CHECK(s.routing.virtual_aliases[1].text == "@old.example");
    CHECK(s.routing.virtual_aliases[2].text == "@more.example");
    const std::string regexp = folder.write("regexp", "/^(.*)@example\\.com$/ x@y.example\n");
    CHECK(
        error_of("[routing]\nvirtual_aliases = [\"@" + regexp + "\"]").starts_with(regexp + ":1:"));
}

TEST_CASE("a password comes from a file that only its owner and group can read") {
    const tests::scratch_folder folder;
    const std::string file = folder.write("secret", "Sesame open\r\nnot this line\n");
    const auto with = [](const std::string& path) {
        return "[policy]\nauth_username = \"carol\"\nauth_password_file = \"" + path + '"';
    };
    const auto mode = [&](std::filesystem::perms p) { std::filesystem::permissions(file, p); };
    using std::filesystem::perms;
    mode(perms::owner_read | perms::owner_write | perms::group_read);
    const auto s = read(with(file));
    const auto& login = s.default_policy.transport->login;
    CHECK(login.username == "carol");
    CHECK(login.password == "Sesame open");
    const std::string shown = to_toml(s);
    CHECK(shown.find("\nauth_username = \"carol\"\nauth_password_file = \"" + file + "\"\n") !=
          std::string::npos);
    CHECK(shown.find("Sesame") == std::string::npos);
    CHECK(to_toml(read(shown)) == shown);
    for (const perms p : {perms::others_read, perms::others_write}) {
        mode(perms::owner_read | p);
        CHECK(error_of(with(file)) ==
              "callforward.toml:3:22: \"auth_password_file\" in [policy] names the file \"" + file +
                  "\": everybody can read or change it: take that away by chmod o-rwx");
    }
}

TEST_CASE("a password file without a password is refused, and a name without one") {
    const tests::scratch_folder folder;
    const auto error_with = [&](std::string_view contents) {
        const std::string file = folder.write("secret", contents);
        std::filesystem::permissions(file, std::filesystem::perms::owner_read);
        const std::string error =
            error_of("[policy]\nauth_username = \"carol\"\nauth_password_file = \"" + file + '"');
        std::filesystem::remove(file);
        const auto colon = error.rfind(": ");
        return colon == std::string::npos ? error : error.substr(colon + 2);
    };
    CHECK(error_with("") == "its first line, which is the password, is empty");
    CHECK(error_with("\nx\n") == "its first line, which is the password, is empty");
    CHECK(error_with(std::string(256, 'x')) == "its first line is longer than 255 bytes");
    CHECK(error_with(std::string_view("a\0b", 3)) == "a password has no NUL");
    CHECK(error_with("x") == "no error");
    CHECK(error_of("[policy]\nauth_username = \"carol\"") ==
          "callforward.toml:2:17: \"auth_username\" in [policy] needs auth_password_file, the file "
          "with the password");
}

TEST_CASE("a domain may have another name and password, or none") {
    const tests::scratch_folder folder;
    const std::string file = folder.write("secret", "x");
    std::filesystem::permissions(file, std::filesystem::perms::owner_read);
    const auto s = parse_settings(
        "[policy]\nauth_username = \"a\"\nauth_password_file = \"secret\"\n"
        "[domain.\"b.example\"]\nauth_username = \"b\"\n"
        "[domain.\"c.example\"]\nauth_username = \"\"\n",
        folder.path() + "/c.toml");
    CHECK(s.domain_policies.at("b.example").transport->login.username == "b");
    CHECK(s.domain_policies.at("b.example").transport->login.password == "x");
    CHECK_FALSE(s.domain_policies.at("c.example").transport->login.wanted());
    CHECK(s.default_policy.fingerprint != s.domain_policies.at("b.example").fingerprint);
}

TEST_CASE("a domain that takes the password away and leaves the name is told so") {
    const tests::scratch_folder folder;
    const std::string file = folder.write("secret", "x");
    std::filesystem::permissions(file, std::filesystem::perms::owner_read);
    const std::string policy =
        "[policy]\nauth_username = \"a\"\nauth_password_file = \"" + file + "\"\n";
    CHECK(error_of(policy + "[domain.\"b.example\"]\nauth_password_file = \"\"") ==
          "callforward.toml:5:22: \"auth_password_file\" in [domain.\"b.example\"] takes the "
          "password away from auth_username in [policy]: to log in nowhere, set auth_username = "
          "\"\"");
    CHECK(error_of(policy +
                   "[domain.\"b.example\"]\nauth_password_file = \"\"\nauth_username = \"\"") ==
          "no error");
    // Neither does it bring the reader down where [policy] itself is wrong.
    CHECK(error_of("[policy]\nauth_username = \"a\"\n"
                   "[domain.\"b.example\"]\nauth_password_file = \"\"")
              .find("callforward.toml:4:22: ") != std::string::npos);
    CHECK(error_of("[policy]\nauth_username = \"a\"\n"
                   "[domain.\"b.example\"]\nauth_password_file = 5")
              .find("callforward.toml:4:22: ") != std::string::npos);
}

TEST_CASE("a configuration file may be missing only when that is allowed") {
    const tests::scratch_folder folder;
    const std::string none = folder.path() + "/none.toml";
    CHECK(load_settings(none, {"policy.port=7"}, true).default_policy.transport->port == 7);
    CHECK_THROWS_WITH_AS(load_settings(none, {}, false),
                         (none + ": No such file or directory").c_str(),
                         config_error);
    CHECK_THROWS_WITH_AS(load_settings(folder.path(), {}, true),
                         (folder.path() + ": Is a directory").c_str(),
                         config_error);
    const std::string large = folder.write("large.toml", "");
    std::filesystem::resize_file(large, std::uintmax_t{5} * 1024 * 1024);
    CHECK_THROWS_AS(load_settings(large, {}, false), config_error);
}

TEST_CASE("a configuration file that was there must not be missing later") {
    const tests::scratch_folder folder;
    const std::string path = folder.path() + "/some.toml";
    settings_file file(path, {}, true);
    CHECK(file.load().default_policy.mode == policy_mode::enforce);
    CHECK(file.path_read().empty());
    folder.write("some.toml", "[policy]\nmode = \"monitor\"\n");
    CHECK(file.load().default_policy.mode == policy_mode::monitor);
    CHECK(file.path_read() == path);
    std::filesystem::remove(path);
    CHECK_THROWS_WITH_AS(file.load(),
                         (path + ": No such file or directory; it was there when it was last read, "
                                 "and an empty file would mean the built-in defaults")
                             .c_str(),
                         config_error);
    CHECK_THROWS_AS(file.load(), config_error);  // and stays an error
    folder.write("some.toml", "");
    CHECK(file.load().default_policy.mode == policy_mode::enforce);
    CHECK(file.path_read() == path);
}
