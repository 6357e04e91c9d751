// What the MTA is told, for any verdict under any policy: codes agree, 421 is nobody's verdict, a
// 4xx becomes no 5xx that the policy does not ask for, and the text is one short printable line.
// The input: the policy, the finding, a code, names for redaction, and the reply's lines, a NUL
// after each text.
#include "milter/decision.h"
#include "milter/redaction.h"
#include "tests/fuzz/input.h"

#include <cstdlib>

using namespace callforward;
using smtpclient::verdict_class;

namespace {

milter::policy policy_from(fuzz::input& in) {
    milter::policy p;
    if (in.flag()) return p;
    for (auto milter::policy::*key : {&milter::policy::on_undeliverable,
                                      &milter::policy::on_sender_refused,
                                      &milter::policy::on_deferred,
                                      &milter::policy::on_refused,
                                      &milter::policy::on_unreachable,
                                      &milter::policy::on_insecure}) {
        p.*key = in.one_of(milter::action::reject);
    }
    if (in.flag()) p.reply_text = milter::reply_text::neutral;
    return p;
}

smtpclient::verdict verdict_from(fuzz::input& in) {
    smtpclient::verdict v;
    v.finding.verdict_class = in.one_of(verdict_class::skipped);
    v.finding.reason = in.one_of(smtpclient::reason::off);
    v.host = in.text();
    v.address = in.text();
    v.mx.emplace_back(in.text());
    v.next_hop_names.emplace_back(in.text());
    if (in.flag()) {
        smtpclient::reply r;
        r.code = 200 + static_cast<int>(in.byte()) + static_cast<int>(in.byte()) % 145;
        do {
            r.lines.emplace_back(in.text());
        } while (!in.empty() && r.lines.size() < smtpclient::reply_parser::lines_limit);
        v.reply = std::move(r);
    }
    return v;
}

void check(const milter::decision& d, const smtpclient::verdict& v, const milter::policy& p) {
    const auto c = v.finding.verdict_class;
    if (c == verdict_class::deliverable || c == verdict_class::skipped) {
        if (d != milter::decision{}) std::abort();
    }
    if (d.action == milter::action::accept) {
        if (d != milter::decision{}) std::abort();
        return;
    }
    const bool reject = d.action == milter::action::reject;
    const int from = reject ? 500 : 400;
    if (d.code < from || d.code > from + 59 || d.code == 421) std::abort();
    std::string_view enhanced = d.enhanced;
    const auto parsed = smtpclient::take_enhanced_code(enhanced);
    if (!parsed || !enhanced.empty() || parsed->status_class != d.code / 100) std::abort();
    if (d.text.empty() || d.text.size() > 400 || !fuzz::is_printable_line(d.text)) std::abort();
    const bool by_default =
        p.on_deferred == milter::action::tempfail && p.on_refused == milter::action::tempfail &&
        p.on_unreachable == milter::action::tempfail && p.on_insecure == milter::action::tempfail;
    if (by_default && reject && c != verdict_class::undeliverable &&
        c != verdict_class::sender_refused) {
        std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::input in(data, size);
    const auto p = policy_from(in);
    const auto v = verdict_from(in);
    static const auto recipient = smtpclient::mailbox::parse("user@example.com");
    check(milter::decide(v, p, &*recipient), v, p);
    check(milter::decide(v, p, nullptr), v, p);
    if (!v.reply) return 0;
    const std::string text = v.reply->text();
    const std::string less = milter::without_names(text, {v.host, v.address, v.mx.front()});
    if (less.size() > text.size() || !fuzz::is_printable_line(less)) std::abort();
    return 0;
}
