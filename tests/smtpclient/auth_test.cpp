#include "smtpclient/auth.h"

#include "smtpclient/extensions.h"
#include "tests/smtpclient/dialogue_player.h"

#include <doctest/doctest.h>

using namespace callforward::smtpclient;
using namespace callforward::testing;

TEST_CASE("base64 is that of RFC 4648") {
    CHECK(base64("") == "");
    CHECK(base64("f") == "Zg==");
    CHECK(base64("fo") == "Zm8=");
    CHECK(base64("foo") == "Zm9v");
    CHECK(base64("foob") == "Zm9vYg==");
    CHECK(base64("fooba") == "Zm9vYmE=");
    CHECK(base64("foobar") == "Zm9vYmFy");
    CHECK(base64("\xfb\xff\xfe") == "+//+");
}

TEST_CASE("the response of PLAIN is that of RFC 4616") {
    CHECK(plain_response({"tim", "tanstaaftanstaaf", ""}) == "AHRpbQB0YW5zdGFhZnRhbnN0YWFm");
}

TEST_CASE("no form of a password is shown") {
    const credentials c{"tim", "tanstaaftanstaaf", ""};
    CHECK(without_secrets("AUTH PLAIN " + plain_response(c), c) == "AUTH PLAIN ****");
    CHECK(without_secrets(base64(c.password), c) == "****");
    CHECK(without_secrets("535 " + c.password + " is wrong, " + c.password + '!', c) ==
          "535 **** is wrong, ****!");
    CHECK(without_secrets("MAIL FROM:<tim@sender.test>", c) == "MAIL FROM:<tim@sender.test>");
    CHECK(without_secrets("250 ok", credentials{}) == "250 ok");
    CHECK_FALSE(without_secrets(std::function<void(char, std::string_view)>{}, c));
}

TEST_CASE("a reply to AUTH that repeats the password does not bring it into the verdict") {
    opening::options options{"client.test", protocol::smtps, tls_level::encrypt, {}};
    options.login = {"tim", "tanstaaf", ""};
    opening dialogue(options);
    static_cast<void>(dialogue.start());
    static_cast<void>(dialogue.on_handshake());
    static_cast<void>(dialogue.on_reply({220, {"hi"}}));
    static_cast<void>(dialogue.on_reply({250, {"hi", "AUTH PLAIN"}}));
    const auto last =
        dialogue.on_reply({535, {"5.7.8 tanstaaf is wrong", plain_response(options.login)}});
    REQUIRE(std::holds_alternative<conclusion>(last));
    const auto& told = std::get<conclusion>(last);
    CHECK(told.finding.reason == reason::auth_required);
    CHECK(told.finding.verdict_class == verdict_class::refused);
    CHECK(told.reply->lines == std::vector<std::string>{"5.7.8 **** is wrong", "****"});
}

TEST_CASE("mechanisms are words of the line AUTH, in any case") {
    const auto of = [](const std::string& line) {
        const auto offered = parse_extensions({250, {"mx.next.test", line}});
        return std::string(offered.auth_plain ? "P" : "-") + (offered.auth_login ? "L" : "-");
    };
    CHECK(of("AUTH PLAIN LOGIN") == "PL");
    CHECK(of("auth  login") == "-L");
    CHECK(of("AUTH=PLAIN CRAM-MD5") == "P-");
    CHECK(of("AUTH XPLAIN PLAINLOGIN") == "--");
    CHECK(of("AUTHPLAIN") == "--");
    CHECK(of("AUTH") == "--");
    CHECK(of("X PLAIN") == "--");
}

TEST_CASE("no password leaves in clear, in any script") {
    for (const auto& s : all_scripts()) {
        const std::string password = s.setting("auth_password", "");
        if (password.empty()) continue;
        bool secured = protocol_of(s) == protocol::smtps;
        for (const auto& step : s.steps) {
            if (step.kind == step_kind::tls) secured = true;
            if (step.kind == step_kind::next) secured = protocol_of(s) == protocol::smtps;
            if (step.kind == step_kind::client && step.text.starts_with("AUTH")) CHECK(secured);
        }
    }
}
