// One RCPT from the MTA's words to the answer, with a real next hop: what a policy script makes of
// it.
#include "milter/config.h"
#include "milter/log.h"
#include "milter/recipient_check.h"
#include "tests/milter/played_next_hop.h"
#include "tests/milter/scratch_folder.h"

#include <doctest/doctest.h>

#include <string>

using namespace callforward;
using milter::action;
using milter::decision;
using milter::engine;
using milter::recipient_check;
using milter::settings;
using tests::played_next_hop;

namespace {

const std::string rules =
    "mail <> 250 2.1.0 ok\nrcpt known* 250 2.1.5 ok\n"
    "rcpt later* 450 4.2.0 at mx.next.test\n"
    "rcpt * 550 5.1.1 no such user at mx.next.test\n";

class checked {
public:
    explicit checked(const std::string& script, const std::string& more = "")
        : settings_(std::make_shared<const settings>(with(script, more))),
          engine_(*settings_, 1),
          check_(engine_, settings_) {
        milter::log_settings quiet;
        quiet.level = milter::log_level::error;
        milter::log::open(quiet);
    }

    std::string operator()(const std::string& recipient) {
        milter::envelope e;
        e.mta = {"Postfix 3.7.11", "mx.test"};
        e.client_address = "192.0.2.1";
        e.mail = "<alice@sender.test>";
        e.rcpt = '<' + recipient + '>';
        e.rcpt_mailer = "smtp";
        e.rcpt_host = hop.route();
        e.rcpt_address = recipient;
        const decision d = check_.check(e, [] { return true; });
        if (d.action == action::accept) return "accept";
        return std::string(to_string(d.action)) + ' ' + std::to_string(d.code) + ' ' + d.enhanced +
               ' ' + tests::without_trace_id(d.text);
    }
    void use(const std::string& script) {
        check_.use(std::make_shared<const settings>(with(script, "")));
    }

    played_next_hop hop{rules};
    played_next_hop other{rules};

private:
    settings with(std::string script, const std::string& more) const {
        const auto at = script.find("OTHER");
        if (at != std::string::npos) script.replace(at, 5, other.route());
        const std::string file = folder_.write("policy.lua", script);
        return milter::parse_settings(
            "[policy]\nscript = \"" + file + "\"\n[cache]\nstore = \"memory\"\n" + more, "f");
    }

    tests::scratch_folder folder_;
    std::shared_ptr<const settings> settings_;
    engine engine_;
    recipient_check check_;
};

}  // namespace

TEST_CASE("a script leaves a recipient out before anybody is asked") {
    checked check(
        "function before(e) if e.local_part == 'nobody1' then return {skip = true} end "
        "end");
    CHECK(check("nobody1@a.test") == "accept");
    CHECK(check.hop.count("rcpt ") == 0);
    CHECK(check("nobody2@a.test") == "reject 550 5.1.1 no such user at");
}

TEST_CASE("what a script chooses is part of what is remembered") {
    checked check(
        "n = 0 function before(e) "
        "if e.local_part == 'nobody' then return {route = 'OTHER', sender = 'null'} end "
        "end");
    CHECK(check("nobody@a.test").starts_with("reject 550"));
    CHECK(check.other.count("mail <>") + check.other.count("mail ") >= 1);
    CHECK(check.other.count("rcpt nobody@a.test") == 1);
    CHECK(check.hop.count("rcpt ") == 0);
    // The same recipient without the script: nothing is known about it there.
    check.use("function after() end");
    CHECK(check("nobody@a.test").starts_with("reject 550"));
    CHECK(check.hop.count("rcpt nobody@a.test") == 1);
    CHECK(check("nobody@a.test").starts_with("reject 550"));
    CHECK(check.hop.count("rcpt nobody@a.test") == 1);
}

TEST_CASE("where a script sends one recipient, the canary of the domain is not asked") {
    checked check(
        "function before(e) "
        "if e.local_part == 'known1' then return {route = 'OTHER'} end "
        "if e.local_part == 'known2' then return {mode = 'enforce'} end "
        "end",
        "[interlock]\ncanaries = [\"known@a.test\"]\nflip_window = \"1s\"\n");
    CHECK(check("known1@a.test") == "accept");
    CHECK(check.other.count("rcpt known1@a.test ") == 1);
    CHECK(check("known2@a.test") == "accept");
    CHECK(check.hop.wait_for("rcpt known@a.test "));
    CHECK(check.other.count("rcpt known@a.test ") == 0);
}

TEST_CASE("a script may watch only, or switch off") {
    checked check("function before(e) return {mode = e.local_part} end");
    CHECK(check("enforce@a.test").starts_with("reject 550"));
    CHECK(check("monitor@a.test") == "accept");
    CHECK(check.hop.count("rcpt monitor@a.test") == 1);
    CHECK(check("off@a.test") == "accept");
    CHECK(check.hop.count("rcpt off@a.test") == 0);
}

TEST_CASE("a script chooses action and text, and the codes agree") {
    checked check(R"(function after(e, v)
  local wanted = {
    known1 = {action = 'reject'}, known2 = {action = 'tempfail', text = 'not \r\n today'},
    nobody1 = {action = 'tempfail'}, nobody2 = {action = 'accept'}, nobody3 = {text = 'gone'},
    nobody4 = {text = v.text}, later1 = {action = 'reject', text = '\0'}}
  return wanted[e.local_part] end)");
    CHECK(check("known1@a.test") == "reject 550 5.7.1 Recipient address rejected by local policy");
    CHECK(check("known2@a.test") == "tempfail 450 4.7.1 not today");
    CHECK(check("nobody1@a.test") == "tempfail 450 4.1.1 no such user at");
    CHECK(check("nobody2@a.test") == "accept");
    CHECK(check("nobody3@a.test") == "reject 550 5.1.1 gone");
    // What a script repeats of a next hop's words names it no more than otherwise.
    CHECK(check("nobody4@a.test") == "reject 550 5.1.1 no such user at");
    CHECK(check("later1@a.test") == "reject 550 5.2.0 at");
    CHECK(check("known3@a.test") == "accept");
}

TEST_CASE("a script that fails leaves everything to the policy") {
    for (const char* const script :
         {"function before(e) error('no') end",
          "function before(e) while true do end end",
          "function before(e) return {mode = 'of'} end",
          "function after(e, v) return v.x.y end",
          "function after(e, v) return {action = 'accept', tekst = 'x'} end",
          "function before() before = nil after = nil end function after() end"}) {
        CAPTURE(script);
        checked check(script);
        CHECK(check("known@a.test") == "accept");
        CHECK(check("nobody@a.test") == "reject 550 5.1.1 no such user at");
        CHECK(check("nobody@a.test") == "reject 550 5.1.1 no such user at");
    }
}

TEST_CASE("a domain may have a script of its own, or none") {
    checked check("function after() return {action = 'accept'} end",
                  "[domain.\"b.test\"]\nscript = \"\"\n");
    CHECK(check("nobody@a.test") == "accept");
    CHECK(check("nobody@b.test").starts_with("reject 550"));
}

TEST_CASE("the limit for clients stands above a script") {
    checked check("function after() return {action = 'reject'} end",
                  "[limits]\nunknown_per_client = 2\n");
    CHECK(check("nobody1@a.test").starts_with("reject 550"));
    CHECK(check("nobody2@a.test").starts_with("reject 550"));
    CHECK(check("known@a.test").starts_with("tempfail 421"));
}

TEST_CASE("a script that can not be used is a mistake of the configuration, with file and line") {
    const tests::scratch_folder folder;
    const auto error_of = [&](const std::string& text) {
        const std::string file = folder.write("policy.lua", text);
        try {
            static_cast<void>(
                milter::parse_settings("[policy]\nscript = \"policy.lua\"", folder.path() + "/f"));
        } catch (const milter::config_error& e) {
            const std::string what = e.what();
            return what.starts_with(file) ? what.substr(file.size()) : what;
        }
        return std::string("no error");
    };
    CHECK(error_of("function after() end") == "no error");
    CHECK(error_of("\n\nfunction after( end")
              .starts_with(":3: \"script\" in [policy] names a script that can not be used: "));
    CHECK(error_of("x = 1").find("defines neither a function before") != std::string::npos);
}
