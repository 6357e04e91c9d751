#include "milter/script_counsel.h"

#include "milter/log.h"

#include <utility>

namespace callforward::milter {

namespace {

void complain(const policy_script& script,
              std::string_view function,
              std::string_view why,
              std::string_view rcpt) {
    log::say(log_level::warning,
             "the policy script failed; the policy holds as configured",
             {{"script", script.file()}, {"function", function}, {"rcpt", rcpt}, {"why", why}});
}

}  // namespace

script_wishes counsel_before(const script_subject& about, const policy& by) {
    auto wishes = by.script->before(about, by);
    if (wishes.error.empty()) return wishes;
    complain(*by.script, "before", wishes.error, about.rcpt);
    script_wishes none;
    none.error = std::move(wishes.error);
    return none;
}

bool counsel_after(const script_subject& about,
                   const smtpclient::verdict& v,
                   source from,
                   const policy& by,
                   decision& d,
                   std::string* error) {
    if (v.finding.verdict_class == smtpclient::verdict_class::skipped) return false;
    const auto answer = by.script->after(about, {v, from, d.action});
    if (!answer.error.empty()) complain(*by.script, "after", answer.error, about.rcpt);
    if (error != nullptr) *error = answer.error;
    if (!answer.action && !answer.text) return false;
    d = decide_as(answer.action.value_or(d.action),
                  answer.text.value_or(std::string{}),
                  v,
                  by,
                  about.recipient);
    return true;
}

}  // namespace callforward::milter
