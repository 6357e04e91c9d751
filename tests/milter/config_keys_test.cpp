// Every key of the configuration: its default, another value that is taken, and ones that are not.
#include "milter/config.h"
#include "smtpclient/certificate.h"
#include "tests/milter/scratch_folder.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <map>
#include <set>

using namespace callforward;
using namespace callforward::milter;

namespace {

struct key_row {
    std::string section;
    std::string key;
    std::string default_value;
    std::string other;               // written
    std::string shown;               // as to_toml() prints it
    std::vector<std::string> wrong;  // refused, at the place of the value
};

const std::string too_long = '"' + std::string(256, 'x') + '"';
const std::string long_path = "\"unix:/" + std::string(107, 'x') + '"';

const std::vector<key_row> rows{
    {"milter",
     "socket",
     R"("inet:8891@127.0.0.1")",
     R"("inet6:0@[::1]")",
     R"("inet6:0@[::1]")",
     {"8891",
      "\"\"",
      "\"8891\"",
      "\"inet:8891\"",
      "\"inet:x@127.0.0.1\"",
      "\"inet:65536@::1\"",
      "\"inet:1@::1\"",
      "\"inet6:1@127.0.0.1\"",
      "\"unix:relative\"",
      "\"fd:x\"",
      "\"inet:1@a b\"",
      "\"tcp:1@127.0.0.1\"",
      "\"inet:-1@127.0.0.1\"",
      "\"unix:/a\\u0000b\"",
      long_path}},
    {"milter",
     "socket_mode",
     R"("0660")",
     R"("600")",
     R"("0600")",
     {"0o660", "\"888\"", "\"7777\"", "\"\"", "\"-660\"", "\"rw-rw----\""}},
    {"milter",
     "socket_group",
     R"("")",
     R"("postfix")",
     R"("postfix")",
     {"5", "\"a b\"", "\"a:b\""}},
    {"milter", "user", R"("")", R"("callforward")", R"("callforward")", {"true", "\"a\\nb\""}},
    {"milter",
     "answer_within",
     R"("auto")",
     R"("500ms")",
     R"("500ms")",
     {"8", "\"8\"", "\"499ms\"", "\"0s\"", "\"2h\"", "\"Auto\"", "\"\""}},
    {"scope",
     "domains",
     R"(["*"])",
     R"(["A.example", "!.b.example", "!c.example", ".d.example"])",
     R"(["a.example", "!.b.example", "!c.example", ".d.example"])",
     {"\"*\"",
      "[1]",
      "[\"\"]",
      "[\"!\"]",
      "[\"!*\"]",
      "[\"*.example\"]",
      "[\"192.0.2.1\"]",
      "[\"a@b.example\"]",
      "[[\"a.example\"]]",
      "[\"..example\"]"}},
    {"scope",
     "exempt_clients",
     R"(["127.0.0.0/8", "::1/128"])",
     R"(["192.0.2.1", "::ffff:10.0.0.0/104"])",
     R"(["192.0.2.1/32", "10.0.0.0/8"])",
     {"[\"10.0.0.0/33\"]",
      "[\"example.com\"]",
      "[\"\"]",
      "[10]",
      "\"10.0.0.0/8\"",
      "[\"::/129\"]"}},
    {"scope", "exempt_authenticated", "true", "false", "false", {"1", "\"true\"", "[]"}},
    {"scope",
     "exempt_recipients",
     R"(["postmaster", "abuse"])",
     R"(["Root", "\"a b\"@X.example"])",
     R"(["root", "\"a b\"@x.example"])",
     {"[\"\"]", "[\"a b\"]", "[\"@example.com\"]", "[\"a@\"]", "[\"<a@b.example>\"]"}},
    {"scope",
     "exempt_senders",
     "[]",
     R"(["A@b.Example", "C.example", ".d.example", "<>"])",
     R"(["a@b.example", "c.example", ".d.example", "<>"])",
     {"[\"a@\"]", "[\"\"]", "[\"*\"]", "[\"a b\"]", "[7]"}},
    {"policy", "mode", R"("enforce")", R"("monitor")", R"("monitor")", {"\"on\"", "false", "\"\""}},
    {"policy",
     "route",
     R"("mta")",
     R"(["[10.0.0.5]:26", "lmtp:unix:/x", "smtps:A.example"])",
     R"(["[10.0.0.5]:26", "lmtp:unix:/x", "smtps:a.example"])",
     {"[]",
      "\"\"",
      "25",
      "[25]",
      "[\"mta\"]",
      "[\"mx\"]",
      "\"MX\"",
      "\"a b\"",
      "[\"[a.example\"]",
      "\"a.example:0\"",
      "\"unix:/x\""}},
    {"policy", "port", "25", "65535", "65535", {"0", "65536", "-1", "\"25\"", "2.5"}},
    {"policy",
     "sender",
     R"("original")",
     R"("Probe@Example.com")",
     R"("Probe@Example.com")",
     {"\"\"", "\"nobody\"", "\"a@b@\"", "1", "\"a@b.example> X\""}},
    {"policy",
     "sender_fallback",
     R"("")",
     R"("<>")",
     R"("null")",
     {"\"nobody\"", "\"original\"", "false", "[]"}},
    {"policy",
     "sender_fallback",
     R"("")",
     R"("Probe@Example.com")",
     R"("Probe@Example.com")",
     {"\"a@b@\"", "\"a@b.example\\r\\nDATA\""}},
    {"policy",
     "helo",
     R"("")",
     R"("Mx.Example.com")",
     R"("mx.example.com")",
     {"\"a b\"", "\"192.0.2.1\"", "5", "\"a\\r\\nQUIT\""}},
    {"policy",
     "source_address",
     "[]",
     R"(["192.0.2.1", "2001:DB8::1"])",
     R"(["192.0.2.1", "2001:db8::1"])",
     {"\"192.0.2.1\"",
      "[\"192.0.2.1\", \"::ffff:192.0.2.2\"]",
      "[\"::1\", \"::2\"]",
      "[\"192.0.2.0/24\"]",
      "[\"a.example\"]",
      "[1]"}},
    {"policy",
     "timeout",
     R"("60s")",
     R"("1500ms")",
     R"("1500ms")",
     {"60", "\"60\"", "\"-1s\"", "\"1.5s\"", "\"1 s\"", "\"s\"", "\"5y\"", "\"25h\"", "6.0"}},
    {"policy", "connect_timeout", R"("5s")", R"("1m")", R"("60s")", {"5", "\"2d\""}},
    {"policy", "reply_timeout", R"("30s")", R"("2m")", R"("2m")", {"true", "\"\""}},
    {"policy", "tls", R"("may")", R"("encrypt")", R"("encrypt")", {"\"yes\"", "true"}},
    {"policy", "tls_min", R"("1.2")", R"("1.0")", R"("1.0")", {"1.2", "\"1.4\"", "\"TLSv1.2\""}},
    {"policy",
     "tls_match",
     "[]",
     R"(["hostname", "dot-nexthop", "MX.Example.com", ".example.com"])",
     R"(["hostname", "dot-nexthop", "mx.example.com", ".example.com"])",
     {"\"hostname\"", "[\"hostnam\"]", "[\"*.example.com\"]", "[\"\"]", "[1]"}},
    {"policy",
     "tls_fingerprints",
     "[]",
     "[\"" + std::string(64, 'a') + "\"]",
     "[\"" + callforward::smtpclient::with_colons(std::string(64, 'a')) + "\"]",
     {"\"aa\"", "[\"aa\"]", "[\"" + std::string(64, 'g') + "\"]", "[1]"}},
    // What a file must be is tested in config_tls_test.cpp.
    {"policy", "tls_ca_file", R"("")", "", "", {"\"/no/such/file\"", "1"}},
    {"policy", "tls_cert_file", R"("")", "", "", {"\"/no/such/file\"", "true"}},
    {"policy", "tls_key_file", R"("")", "", "", {"\"/no/such/file\"", "[]"}},
    {"policy", "tls_mta_sts", "false", "true", "true", {"\"true\"", "1"}},
    {"policy", "xclient", "false", "true", "true", {"\"true\"", "1"}},
    {"policy", "proxy_protocol", "false", "true", "true", {"\"v2\"", "2", "[]"}},
    {"policy", "auth_username", R"("")", "", "", {"5", "\"carol\"", too_long}},
    {"policy", "auth_password_file", R"("")", "", "", {"true", "\"/no/such/file\"", "\"/etc\""}},
    {"policy", "probe_until", R"("rcpt")", R"("data")", R"("data")", {"\"mail\"", "1", "\"DATA\""}},
    {"policy", "catch_all_probe", "false", "true", "true", {"1", "\"true\""}},
    {"policy", "on_undeliverable", R"("reject")", R"("tempfail")", R"("tempfail")", {"\"no\""}},
    {"policy", "on_sender_refused", R"("reject")", R"("accept")", R"("accept")", {"\"defer\""}},
    {"policy", "on_deferred", R"("tempfail")", R"("accept")", R"("accept")", {"4"}},
    {"policy", "on_refused", R"("tempfail")", R"("reject")", R"("reject")", {"\"\""}},
    {"policy", "on_unreachable", R"("tempfail")", R"("accept")", R"("accept")", {"false"}},
    {"policy", "on_insecure", R"("tempfail")", R"("reject")", R"("reject")", {"\"Reject\""}},
    {"policy", "reply_text", R"("upstream")", R"("neutral")", R"("neutral")", {"\"none\""}},
    {"policy", "script", R"("")", "", "", {"5", "\"/nonexistent/policy.lua\""}},
    {"routing",
     "my_names",
     "[]",
     R"(["MX.example"])",
     R"(["mx.example"])",
     {"[\"192.0.2.1\"]", "1"}},
    {"routing",
     "my_addresses",
     "[]",
     R"(["192.0.2.1", "::ffff:192.0.2.2"])",
     R"(["192.0.2.1", "192.0.2.2"])",
     {"[\"192.0.2.0/24\"]", "[\"a.example\"]"}},
    {"routing",
     "deny",
     R"(["127.0.0.0/8", "::1/128", "0.0.0.0/8", "169.254.0.0/16", "fe80::/10", "224.0.0.0/4"])",
     "[]",
     "[]",
     {"[\"x\"]", "\"10.0.0.0/8\""}},
    {"routing",
     "mailers",
     "{}",
     R"({ MyRelay = "smtp", b = "lmtp:2400", c = "skip", d = "smtp:26" })",
     R"({ "b" = "lmtp:2400", "c" = "skip", "d" = "smtp:26", "myrelay" = "smtp" })",
     {"[]",
      "\"smtp\"",
      "{ a = \"esmtp\" }",
      "{ a = 25 }",
      "{ a = \"smtp:0\" }",
      "{ a = \"smtp:\" }",
      "{ a = \"skip:25\" }",
      "{ a = \"smtp\", A = \"skip\" }"}},
    {"routing",
     "virtual_aliases",
     "[]",
     R"(["A@b.Example", "@C.example"])",
     R"(["a@b.example", "@c.example"])",
     {"[\"a\"]", "[\"@\"]", "[\"\"]", "[\"/x@y.example/\"]"}},
    {"routing",
     "queue_directory",
     R"("/var/spool/postfix")",
     R"("/x")",
     R"("/x")",
     {"\"x\"", "\"\""}},
    {"dns",
     "servers",
     "[]",
     R"(["127.0.0.1", "[::1]:5353", "::1"])",
     R"(["127.0.0.1:53", "[::1]:5353", "[::1]:53"])",
     {"[\"a.example\"]", "[\"127.0.0.1:0\"]", "[\"127.0.0.1:\"]", "\"127.0.0.1\"", "[\"[::1\"]"}},
    {"dns", "timeout", R"("5s")", R"("200ms")", R"("200ms")", {"5", "\"5sec\""}},
    {"dns", "trust_ad", R"("auto")", "true", "true", {"\"true\"", "1", "\"Auto\""}},
    {"cache",
     "store",
     R"("lmdb:/var/lib/callforward")",
     R"("lmdb:/srv/cache//")",
     R"("lmdb:/srv/cache")",
     {"\"disk\"", "\"\"", "1", "\"lmdb:\"", "\"lmdb:relative\"", "\"lmdb\""}},
    {"cache", "store_user", R"("")", R"("edge")", R"("edge")", {"\"a b\"", "1"}},
    {"cache", "store_password_file", R"("")", "", "", {"1", "\"relative\"", "\"/nowhere/at/all\""}},
    {"cache", "store_timeout", R"("50ms")", R"("2s")", R"("2s")", {"50", "\"0s\"", "\"11s\""}},
    {"cache", "store_trust", R"("60s")", R"("0s")", R"("0s")", {"60", "\"-1s\""}},
    {"cache", "stale", R"("7d")", R"("0s")", R"("0s")", {"\"7 d\""}},
    {"cache", "undeliverable_max", R"("2h")", R"("30m")", R"("30m")", {"30"}},
    {"cache", "catch_all", R"("24h")", R"("3h")", R"("3h")", {"true"}},
    {"cache", "deliverable", R"("24h")", R"("7d")", R"("7d")", {"86400", "\"36501d\"", "\"-1d\""}},
    {"cache", "undeliverable", R"("10m")", R"("1500ms")", R"("2s")", {"\"10 m\""}},
    {"cache", "undetermined", R"("30s")", R"("0s")", R"("0s")", {"\"99999999999999999999s\""}},
    {"cache", "capacity", "1000000", "0", "0", {"-1", "1000000001", "\"1\"", "1.0"}},
    {"cache", "undeliverable_capacity", "250000", "5", "5", {"-5"}},
    {"limits", "connections_per_host", "20", "5", "5", {"-1", "10001", "\"5\"", "5.0"}},
    {"limits", "connections", "1000", "50", "50", {"-1", "100001", "\"1000\"", "1.5"}},
    {"limits", "fleet_connections_per_host", "0", "40", "40", {"-1", "100001", "\"4\""}},
    {"limits", "idle_session", R"("10s")", R"("0s")", R"("0s")", {"10", "\"25h\"", "\"-1s\""}},
    {"limits", "recipients_per_session", "100", "0", "0", {"-1", "1000001", "true"}},
    {"limits", "recipients_refused_per_session", "8", "1", "1", {"-8", "1000001", "[]"}},
    {"limits", "pending", "10000", "1", "1", {"-1", "1000001", "\"10000\""}},
    {"limits", "pending_share", "25", "100", "100", {"-1", "101", "\"25%\"", "0.25"}},
    {"limits", "unknown_per_client", "20", "0", "0", {"-1", "1000001", "\"\""}},
    {"limits", "unknown_window", R"("10m")", R"("90s")", R"("90s")", {"600", "\"2d\"", "\"\""}},
    {"limits", "host_penalty", R"("60s")", R"("0s")", R"("0s")", {"60", "\"25h\""}},
    {"limits", "shards", "0", "2", "2", {"-1", "257", "\"2\""}},
    {"interlock",
     "canaries",
     "[]",
     R"(["Boss@B.Example", "info@c.example"])",
     R"(["Boss@b.example", "info@c.example"])",
     {"\"boss@b.example\"", "[\"boss\"]", "[\"boss@[192.0.2.1]\"]", "[\"\"]", "[1]"}},
    {"interlock", "flip_limit", "20", "0", "0", {"-1", "1001", "\"20\""}},
    {"interlock", "flip_window", R"("5m")", R"("1m")", R"("60s")", {"300", "\"25h\""}},
    {"control",
     "socket",
     R"("/run/callforward/control.sock")",
     R"("")",
     R"("")",
     {"1", "\"relative\"", "\"/" + std::string(107, 'x') + '"'}},
    {"metrics",
     "listen",
     R"("")",
     R"("[::1]:9589")",
     R"("[::1]:9589")",
     {"9589",
      "\"9589\"",
      "\"localhost:9589\"",
      "\"127.0.0.1\"",
      "\"127.0.0.1:65536\"",
      "\"::1:9589\""}},
    {"metrics", "show_addresses", "false", "true", "true", {"\"yes\"", "1"}},
    {"log", "target", R"("auto")", R"("stderr")", R"("stderr")", {"\"file\""}},
    {"log", "format", R"("logfmt")", R"("json")", R"("json")", {"\"JSON\""}},
    {"log", "level", R"("info")", R"("debug")", R"("debug")", {"7"}},
};

// Of [interface section 2].
const std::map<std::string, std::set<std::string>> all_keys{
    {"milter", {"socket", "socket_mode", "socket_group", "user", "answer_within"}},
    {"scope",
     {"domains", "exempt_clients", "exempt_authenticated", "exempt_recipients", "exempt_senders"}},
    {"policy",
     {"mode",
      "route",
      "port",
      "sender",
      "sender_fallback",
      "helo",
      "source_address",
      "timeout",
      "connect_timeout",
      "reply_timeout",
      "tls",
      "tls_match",
      "tls_fingerprints",
      "tls_ca_file",
      "tls_cert_file",
      "tls_key_file",
      "tls_min",
      "tls_mta_sts",
      "xclient",
      "proxy_protocol",
      "auth_username",
      "auth_password_file",
      "probe_until",
      "catch_all_probe",
      "on_undeliverable",
      "on_sender_refused",
      "on_deferred",
      "on_refused",
      "on_unreachable",
      "on_insecure",
      "reply_text",
      "script"}},
    {"routing",
     {"my_names", "my_addresses", "deny", "mailers", "virtual_aliases", "queue_directory"}},
    {"dns", {"servers", "timeout", "trust_ad"}},
    {"cache",
     {"store",
      "store_user",
      "store_password_file",
      "store_timeout",
      "store_trust",
      "deliverable",
      "stale",
      "undeliverable",
      "undeliverable_max",
      "undetermined",
      "catch_all",
      "capacity",
      "undeliverable_capacity"}},
    {"limits",
     {"connections_per_host",
      "connections",
      "fleet_connections_per_host",
      "idle_session",
      "recipients_per_session",
      "recipients_refused_per_session",
      "pending",
      "pending_share",
      "unknown_per_client",
      "unknown_window",
      "host_penalty",
      "shards"}},
    {"interlock", {"canaries", "flip_limit", "flip_window"}},
    {"control", {"socket"}},
    {"metrics", {"listen", "show_addresses"}},
    {"log", {"target", "format", "level"}},
};

std::string document(const std::string& section, const std::string& key, const std::string& value) {
    return '[' + section + "]\n" + key + " = " + value + '\n';
}

std::string error_of(const std::string& text) {
    try {
        (void)parse_settings(text, "f");
    } catch (const config_error& error) {
        return error.what();
    }
    return "no error";
}

std::string shown(const std::string& text) {
    return to_toml(parse_settings(text, "f"));
}

}  // namespace

TEST_CASE("the keys of the contract are exactly those that are read") {
    std::map<std::string, std::set<std::string>> known;
    for (const key_row& r : rows) known[r.section].insert(r.key);
    CHECK(known == all_keys);
}

TEST_CASE("every key takes its default, and then nothing changes") {
    for (const key_row& r : rows) {
        CAPTURE(r.key);
        CHECK(shown(document(r.section, r.key, r.default_value)) == to_toml(default_settings()));
    }
}

TEST_CASE("every key takes another value, which is shown and taken back") {
    for (const key_row& r : rows) {
        if (r.other.empty()) continue;
        CAPTURE(r.key);
        const std::string text = shown(document(r.section, r.key, r.other));
        CHECK(text.find('\n' + r.key + " = " + r.shown + '\n') != std::string::npos);
        CHECK(shown(text) == text);
    }
}

TEST_CASE("every key refuses a wrong type and a value out of range, at its place") {
    for (const key_row& r : rows) {
        for (const std::string& wrong : r.wrong) {
            CAPTURE(r.key);
            CAPTURE(wrong);
            const std::string error = error_of(document(r.section, r.key, wrong));
            CHECK(error.starts_with("f:2:"));
            CHECK(error.find('"' + r.key + "\" in [" + r.section + ']') != std::string::npos);
        }
    }
}

TEST_CASE("every key of [policy] may stand in a domain's table") {
    for (const key_row& r : rows) {
        if (r.section != "policy" || r.other.empty()) continue;
        CAPTURE(r.key);
        const auto s = parse_settings(document("domain.\"a.example\"", r.key, r.other), "f");
        CHECK(to_toml(s).find('\n' + r.key + " = " + r.shown + '\n', to_toml(s).find("[domain")) !=
              std::string::npos);
        CHECK(shown(to_toml(s)) == to_toml(s));
    }
}

TEST_CASE("equal durations are equal, however they are written") {
    CHECK(error_of("[limits]\nidle_session = \"10000ms\"") == "no error");
}

TEST_CASE("a shared store is a URL without a password") {
    for (const char* store : {"redis://127.0.0.1:6379/0",
                              "rediss://a.example:6380/1",
                              "redis+unix:/run/redis/redis.sock?db=1",
                              "redis+sentinel://10.0.0.1,10.0.0.2/main"}) {
        CAPTURE(store);
        CHECK(error_of(document("cache", "store", '"' + std::string(store) + '"')) == "no error");
    }
    for (const char* store : {"redis://", "redis://u:p@h", "redis+unix:x", "redis://h?x=1"}) {
        CAPTURE(store);
        CHECK(error_of(document("cache", "store", '"' + std::string(store) + '"'))
                  .starts_with("f:2:9: \"store\" in [cache] = "));
    }
}

TEST_CASE("what is no store is told every kind that there is") {
    const std::string said = error_of(document("cache", "store", "\"mysql://h\""));
    for (const char* kind : {"memory",
                             "lmdb:DIRECTORY",
                             "redis://HOST:PORT/DB",
                             "rediss://",
                             "redis+unix:/path",
                             "redis+sentinel://",
                             "rediss+sentinel://"}) {
        CAPTURE(kind);
        CHECK(said.find('"' + std::string(kind)) != std::string::npos);
    }
}

TEST_CASE("the password of a store is a file that not everybody can read") {
    const tests::scratch_folder folder;
    const std::string file = folder.write("secret", "open sesame\nmore\n");
    const std::string text = document("cache", "store_password_file", '"' + file + '"');
    std::filesystem::permissions(file, std::filesystem::perms(0644));
    CHECK(error_of(text).find("everybody can read") != std::string::npos);
    std::filesystem::permissions(file, std::filesystem::perms(0640));
    REQUIRE(error_of(text) == "no error");
    const auto s = parse_settings(text, "f");
    CHECK(s.cache.store_password == "open sesame");
    CHECK(to_toml(s).find("sesame") == std::string::npos);
    CHECK(error_of(document("cache", "store_password_file", "\"/nowhere\"")).starts_with("f:2:"));
    CHECK(error_of(document("cache", "store_password_file", "\"secret\"")).starts_with("f:2:"));
}

TEST_CASE("zero means what the contract says") {
    const auto s = parse_settings(R"([policy]
timeout = "0s"
connect_timeout = "0ms"
reply_timeout = "0d"
[dns]
timeout = "0s"
[cache]
deliverable = "0s"
undeliverable = "0s"
undetermined = "0s"
capacity = 0
undeliverable_capacity = 0)",
                                  "f");
    // No time limit is as good as a day; lifetimes keep nothing; counts are none.
    const auto& by = *s.default_policy.transport;
    CHECK(by.timeout == std::chrono::hours(24));
    CHECK(by.connect_timeout == std::chrono::hours(24));
    CHECK(by.reply_timeout == std::chrono::hours(24));
    CHECK(s.dns.timeout == std::chrono::hours(24));
    CHECK(s.cache.deliverable.count() == 0);
    CHECK(s.cache.undeliverable.count() == 0);
    CHECK(s.cache.undetermined.count() == 0);
    CHECK(s.cache.capacity == 0);
    CHECK(s.cache.undeliverable_capacity == 0);
}

TEST_CASE("the whole configuration goes to TOML and back") {
    std::string text;
    std::string last;
    std::set<std::string> written;  // a key may have several rows
    for (const key_row& r : rows) {
        if (!written.insert(r.section + '.' + r.key).second) continue;
        if (r.section != last) text += '[' + r.section + "]\n";
        last = r.section;
        if (!r.other.empty()) text += r.key + " = " + r.other + '\n';
    }
    text +=
        "[domain.\"a.example\"]\nroute = \"mx\"\n[domain.\".b.example\"]\nsender = \"null\"\n"
        "[[classify]]\nstage = \"rcpt\"\ncode = 550\nenhanced = \"5.7.1\"\n"
        "text = '(?i)\"x\\d\\t'\nas = \"unknown_user\"\n"
        "[[classify]]\ntext = \"\\u0001\\u007f\\n\"\nas = \"policy\"\n";
    const settings once = parse_settings(text, "f");
    const settings twice = parse_settings(to_toml(once), "g");
    CHECK(to_toml(twice) == to_toml(once));
    CHECK(twice.default_policy.fingerprint == once.default_policy.fingerprint);
    CHECK(twice.domain_policies.size() == 2);
    CHECK(twice.default_policy.hops == once.default_policy.hops);
    CHECK(twice.default_policy.fixed_sender == "Probe@Example.com");
    CHECK(twice.milter.answer_within == once.milter.answer_within);
    CHECK(twice.routing.mailers.size() == 4);
}
