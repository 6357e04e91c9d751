// The policy scripts among the examples do what their comments say.
#include "milter/bounded_file.h"
#include "milter/script.h"

#include <doctest/doctest.h>

using namespace callforward;
using namespace callforward::milter;
using smtpclient::mailbox;

namespace {

std::shared_ptr<const policy_script> example(const std::string& name) {
    const std::string file = CALLFORWARD_LUA_EXAMPLES "/" + name;
    auto text = read_bounded(file, policy_script::largest_file);
    REQUIRE_MESSAGE(text.error.empty(), text.error);
    script_problem problem;
    auto made = policy_script::make(file, std::move(text.text), problem);
    REQUIRE_MESSAGE(made, problem.line, ": ", problem.text);
    return made;
}

script_wishes wishes_for(const policy_script& script,
                         const std::string& rcpt,
                         const std::string& sender = "alice@sender.test") {
    const auto recipient = mailbox::parse(rcpt);
    const envelope e;
    auto wishes = script.before({e, &*recipient, rcpt, sender}, policy{});
    CHECK_MESSAGE(wishes.error.empty(), wishes.error);
    return wishes;
}

script_answer answer_to(const policy_script& script,
                        const std::string& rcpt,
                        const smtpclient::verdict& v) {
    const auto recipient = mailbox::parse(rcpt);
    const envelope e;
    auto answer = script.after({e, &*recipient, rcpt, "<>"}, {v, source::probe, action::reject});
    CHECK_MESSAGE(answer.error.empty(), answer.error);
    return answer;
}

smtpclient::verdict refused(const std::string& text) {
    smtpclient::verdict v;
    v.finding = {smtpclient::verdict_class::undeliverable, smtpclient::reason::unknown_user};
    v.reply = smtpclient::reply{550, {text}};
    return v;
}

}  // namespace

TEST_CASE("the example by recipient skips, routes, hides the sender and watches") {
    const auto script = example("policy_by_recipient.lua");
    CHECK(wishes_for(*script, "bounce-1a2b=x@example.com").skip == "bounce address");
    const auto archive = wishes_for(*script, "Invoices@example.com");
    REQUIRE(archive.by);
    CHECK(archive.by->route == route_choice::list);
    CHECK(archive.by->hops.size() == 2);
    const auto list = wishes_for(*script, "bob@example.com", "news-owner@lists.test");
    REQUIRE(list.by);
    CHECK(list.by->sender == sender_choice::null);
    const auto watched = wishes_for(*script, "bob@new.example.com");
    REQUIRE(watched.by);
    CHECK(watched.by->mode == policy_mode::monitor);
    const auto other = wishes_for(*script, "bob@example.com");
    CHECK_FALSE(other.by);
    CHECK_FALSE(other.skip);
}

TEST_CASE("the example by answer lets a full mailbox wait, and rewords") {
    const auto script = example("policy_by_answer.lua");
    CHECK(answer_to(*script, "bob@example.com", refused("5.1.1 Over quota")).action ==
          action::tempfail);
    const auto unknown = answer_to(*script, "bob@example.com", refused("5.1.1 who?"));
    CHECK_FALSE(unknown.action);
    REQUIRE(unknown.text);
    CHECK(unknown.text->starts_with("No mailbox of that name"));
    smtpclient::verdict away;
    away.finding = {smtpclient::verdict_class::unreachable, smtpclient::reason::connect_failed};
    CHECK(answer_to(*script, "bob@lab.example.com", away).action == action::accept);
    CHECK_FALSE(answer_to(*script, "bob@example.com", away).action);
}
