#include "milter/script.h"

#include "tests/milter/scratch_folder.h"

#include <doctest/doctest.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

using namespace callforward;
using namespace callforward::milter;
using smtpclient::mailbox;

namespace {

std::shared_ptr<const policy_script> script_of(const std::string& text) {
    script_problem problem;
    auto made = policy_script::make("/etc/policy.lua", text, problem);
    CHECK_MESSAGE(made, problem.text);
    return made;
}

std::string problem_of(const std::string& text) {
    script_problem problem;
    CHECK_FALSE(policy_script::make("/etc/policy.lua", text, problem));
    return std::to_string(problem.line) + ": " + problem.text;
}

envelope envelope_of_bob() {
    envelope e;
    e.mta = {"Postfix 3.7.11", "mx.test"};
    e.client_address = "192.0.2.1";
    e.client_name = "client.test";
    e.mail_parameters = {"SIZE=10"};
    e.rcpt_mailer = "smtp";
    e.rcpt_host = "[127.0.0.1]";
    return e;
}

const mailbox& bob() {
    static const mailbox address = *mailbox::parse("Bob+x@next.test");
    return address;
}

script_wishes before(const policy_script& script, const policy& now = {}) {
    const envelope e = envelope_of_bob();
    return script.before({e, &bob(), "Bob+x@next.test", "alice@sender.test"}, now);
}

// What before() came to: the wishes, or the error.
std::string told_before(const std::string& body) {
    const auto script = script_of("function before(e) " + body + " end");
    const auto wishes = before(*script);
    if (!wishes.error.empty()) {
        CHECK_FALSE(wishes.by);
        CHECK_FALSE(wishes.skip);
        return "error " + wishes.error;
    }
    if (wishes.skip) return "skip " + *wishes.skip;
    if (!wishes.by) return "as it is";
    smtpclient::destination to;
    to.hops = wishes.by->hops;
    std::string text(to_string(wishes.by->mode));
    text += ' ';
    text += wishes.by->route == route_choice::list ? to.text()
            : wishes.by->route == route_choice::mx ? "mx"
                                                   : "mta";
    return text + ' ' + wishes.by->fingerprint.substr(0, wishes.by->fingerprint.find(" helo="));
}

smtpclient::verdict unknown_user() {
    smtpclient::verdict v;
    v.finding = {smtpclient::verdict_class::undeliverable, smtpclient::reason::unknown_user};
    v.stage = smtpclient::stage::rcpt;
    v.reply = smtpclient::reply{550, {"5.1.1 no \x01 such user"}};
    v.host = "mx.next.test";
    v.address = "127.0.0.1";
    v.port = 25;
    return v;
}

std::string told_after(const std::string& body) {
    const auto script = script_of("function after(e, v) " + body + " end");
    const envelope e = envelope_of_bob();
    const auto v = unknown_user();
    const auto answer =
        script->after({e, &bob(), "Bob+x@next.test", "<>"}, {v, source::cache, action::reject});
    if (!answer.error.empty()) return "error " + answer.error;
    return std::string(answer.action ? to_string(*answer.action) : "-") + ' ' +
           answer.text.value_or("-");
}

}  // namespace

TEST_CASE("before() may leave a recipient out, or choose route, sender and mode") {
    CHECK(told_before("") == "as it is");
    CHECK(told_before("return nil") == "as it is");
    CHECK(told_before("return {}") == "as it is");
    CHECK(told_before("return {skip = false}") == "as it is");
    CHECK(told_before("return {skip = true}") == "skip ");
    CHECK(told_before("return {skip = 'known here'}") == "skip known here");
    CHECK(told_before("return {mode = 'monitor'}") == "monitor mta sender=original");
    CHECK(told_before("return {route = 'mx', sender = 'null'}") == "enforce mx sender=<>");
    CHECK(told_before("return {route = '[127.0.0.1]:26'}") ==
          "enforce [127.0.0.1]:26 sender=original");
    CHECK(told_before("return {route = {'lmtp:unix:/x', 'b.test'}, sender = 'probe@us.test'}") ==
          "enforce lmtp:unix:/x,b.test sender=<probe@us.test>");
}

TEST_CASE("what before() is given") {
    CHECK(told_before("return {skip = table.concat({e.rcpt, e.local_part, e.domain, e.sender, "
                      "e.client_address, e.client_name, e.parameters[1], e.mailer, e.host, e.mta, "
                      "e.hostname, tostring(e.authenticated)}, ' ')}") ==
          "skip Bob+x@next.test Bob+x next.test alice@sender.test 192.0.2.1 client.test SIZE=10 "
          "smtp [127.0.0.1] Postfix 3.7.11 mx.test nil");
}

TEST_CASE("an answer that is not understood is an error, and changes nothing") {
    for (const auto& [body, words] :
         {std::pair{"return 5", "before must answer nil or a table, not number"},
          std::pair{"return {rout = 'mx'}", "before: rout is not known; known are skip, mode"},
          std::pair{"return {'mx'}", "before: a list's field is not known"},
          std::pair{"return {mode = 'Off'}", "before: mode = \"Off\" is none of enforce, monitor"},
          std::pair{"return {mode = 5}", "before: mode must be a string"},
          std::pair{"return {route = 'a b'}", "before: route has a bad next hop"},
          std::pair{"return {route = {}}", "before: route is a list without a next hop"},
          std::pair{"return {skip = true, sender = 'a'}", "before: sender must be"},
          std::pair{"return {skip = 5}", "before: skip must be a string"},
          std::pair{"error('as it pleases')", "policy:1: as it pleases"},
          std::pair{"error({})", "an error without words"},
          std::pair{"return e.x.y", "policy:1: attempt to index a nil value (field 'x')"}}) {
        CAPTURE(body);
        const std::string got = told_before(body);
        CHECK_MESSAGE(got.starts_with(std::string("error ") + words), got);
    }
}

TEST_CASE("after() may change action and text") {
    CHECK(told_after("") == "- -");
    CHECK(told_after("return {action = 'accept'}") == "accept -");
    CHECK(told_after("return {action = 'tempfail', text = 'later ' .. v.code}") ==
          "tempfail later 550");
    CHECK(told_after("return {action = 'refuse'}").starts_with("error after: action = \"refuse\""));
    CHECK(told_after("return {code = 571}").starts_with("error after: code is not known"));
}

TEST_CASE("what after() is given") {
    CHECK(told_after("return {text = table.concat({v.outcome, v.reason, v.class, v.stage, v.code, "
                     "v.enhanced, v.text, v.host, v.address, v.port, v.source, v.action, "
                     "tostring(v.tls), tostring(v.mx), e.sender}, '|')}") ==
          "- undeliverable|unknown_user|undeliverable|rcpt|550|5.1.1|no ? such user|mx.next.test|"
          "127.0.0.1|25|cache|reject|nil|nil|<>");
}

TEST_CASE("a script that can not be used is told with its line") {
    CHECK(problem_of("function before(e)\n  retrun 5\nend").starts_with("2: syntax error near"));
    CHECK(problem_of("x = 1") ==
          "0: defines neither a function before(envelope) nor "
          "after(envelope, verdict)");
    CHECK(problem_of("\nerror('at the start')") == "2: at the start");
    CHECK(problem_of("\x1bLua binary").starts_with("0: attempt to load a binary chunk"));
    // Instructions or time, whichever is used up first on this machine.
    CHECK(problem_of("\n\nwhile true do end").starts_with("3: stopped: too "));
}

TEST_CASE("a script reaches nothing outside") {
    for (const char* const name : {"io",
                                   "require",
                                   "package",
                                   "debug",
                                   "load",
                                   "loadfile",
                                   "dofile",
                                   "collectgarbage",
                                   "setmetatable",
                                   "getmetatable",
                                   "rawset",
                                   "coroutine",
                                   "print",
                                   "os.execute",
                                   "os.getenv",
                                   "os.exit",
                                   "os.remove",
                                   "string.dump",
                                   "table.move"}) {
        CAPTURE(name);
        CHECK(told_before("return {skip = tostring(" + std::string(name) + ")}") == "skip nil");
    }
    CHECK(told_before("return {skip = type(os.time()) .. type(math.pi) .. utf8.char(65)}") ==
          "skip numbernumberA");
}

TEST_CASE("no script can stall a RCPT") {
    for (const char* const body :
         {"while true do end",
          "while true do pcall(function() while true do end end) end",
          "local function f() return xpcall(f, f) end while true do f() end",
          "local s = 'x' while true do s = s .. s end",
          "while true do local t = ('x'):rep(1000000) end",
          "return ('x'):rep(1e18)",
          "return (''):rep(1e18)",
          "local t = {} for i = 1, 1e9 do t[i] = i end",
          "return ('a'):rep(1000):find(('.-'):rep(20) .. 'b')",
          "return ('a'):rep(40):find(('a?'):rep(40) .. ('a'):rep(41))",
          "for i = 1, 1e9 do ('a'):rep(300):gsub('.-.-b', '') end",
          "for i = 1, 1e9 do string.find(('a'):rep(3000), ('a'):rep(1500) .. 'b', 1, true) end",
          "local function f() f() end f()",
          "local function f() return f() + 1 end f()",
          "local t = {} for i = 1, 1e5 do table.insert(t, 1, i) end",
          "for i = 1, 1e9 do log('flood') end"}) {
        CAPTURE(body);
        const auto begin = std::chrono::steady_clock::now();
        const std::string got = told_before(body);
        CHECK_MESSAGE(got.starts_with("error "), got);
        // Fifty milliseconds of processor time, and a slow machine with others on it.
        CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds{30});
    }
}

TEST_CASE("after an error the script is as if it had just been read") {
    const auto script = script_of(
        "calls = 0 function before(e) calls = calls + 1 "
        "if calls == 3 then error('third') end "
        "return {skip = tostring(calls)} end");
    CHECK(before(*script).skip == "1");
    CHECK(before(*script).skip == "2");
    CHECK(before(*script).error == "policy:1: third");
    CHECK(before(*script).skip == "1");
}

TEST_CASE("a script without one of the functions leaves that part to the policy") {
    const auto script = script_of("function after() return {action = 'accept'} end");
    const auto wishes = before(*script);
    CHECK(wishes.error.empty());
    CHECK_FALSE(wishes.by);
}

TEST_CASE("many threads call one script") {
    const auto script = script_of("function before(e) return {skip = e.rcpt .. e.sender} end");
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&, i] {
            const envelope e = envelope_of_bob();
            const std::string rcpt = "r" + std::to_string(i);
            for (int n = 0; n < 50; ++n) {
                const auto wishes = script->before({e, nullptr, rcpt, "s"}, policy{});
                CHECK(wishes.skip == rcpt + 's');
            }
        });
    }
    for (auto& t : threads) t.join();
}
