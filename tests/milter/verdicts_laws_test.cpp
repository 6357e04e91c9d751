// Laws of what is known, for questions and verdicts that a seeded generator makes: an answer is
// never another question's, an undetermined one never comes back as a refusal, and nothing outlives
// its life.
#include "milter/verdicts/cache.h"

#include <doctest/doctest.h>

#include <array>
#include <map>
#include <random>
#include <string>
#include <vector>

using namespace callforward;
using namespace std::chrono_literals;
using milter::verdicts::cache;
using milter::verdicts::moment;
using milter::verdicts::steady_clock;
using milter::verdicts::wall_time;
using smtpclient::reason;
using smtpclient::verdict_class;

namespace {

struct asked {
    smtpclient::question question;
    std::string fingerprint;
};

class generator {
public:
    asked question() {
        asked a;
        const auto& local = one_of(locals);
        const auto& domain = one_of(domains);
        a.question.recipient = smtpclient::mailbox::parse(local + '@' + domain).value();
        a.question.sender = one_of(senders);
        if (below(3) == 0) a.question.parameters.size = below(2) * 1000;
        if (below(4) == 0) {
            a.question.to.recipient_mx = true;
        } else {
            std::string error;
            a.question.to.hops.push_back(smtpclient::parse_next_hop(one_of(routes), error).value());
        }
        a.fingerprint = one_of(fingerprints);
        return a;
    }
    // What says whose answer it is, in the text that a refusal keeps, or in the host.
    smtpclient::verdict verdict(const std::string& mark) {
        static const std::array<smtpclient::verdict, 7> kinds{
            made(verdict_class::deliverable, reason::accepted, 250, "2.1.5 ok"),
            made(verdict_class::deliverable, reason::catch_all, 250, "2.1.5 any"),
            made(verdict_class::undeliverable, reason::unknown_user, 550, "5.1.1 "),
            made(verdict_class::undeliverable, reason::unknown_user, 550, ""),
            made(verdict_class::sender_refused, reason::sender_refused, 550, "5.7.1 "),
            made(verdict_class::deferred, reason::greylisted, 450, "4.7.1 "),
            made(verdict_class::refused, reason::policy, 554, "5.7.1 ")};
        smtpclient::verdict v = kinds.at(below(kinds.size()));
        v.host = mark;
        v.reply->lines.front() += mark;
        return v;
    }
    std::size_t below(std::size_t limit) { return random_() % limit; }

private:
    static smtpclient::verdict made(verdict_class c, reason r, int code, const char* text) {
        smtpclient::verdict v;
        v.finding = {c, r};
        v.stage =
            c == verdict_class::sender_refused ? smtpclient::stage::mail : smtpclient::stage::rcpt;
        v.reply = smtpclient::reply{code, {text}};
        return v;
    }
    const std::string& one_of(const std::vector<std::string>& all) {
        return all[below(all.size())];
    }

    const std::vector<std::string> locals{"a", "A", "b", "\"a\"", "ab", "a.b"};
    const std::vector<std::string> domains{"x.test", "X.test", "y.test", "x.test.y.test"};
    const std::vector<std::string> senders{"", "s@a.test", "S@a.test", "t@a.test"};
    const std::vector<std::string> routes{
        "[mx.test]:25", "[mx.test]:26", "mx.test", "lmtp:[mx.test]"};
    const std::vector<std::string> fingerprints{"", "p", "q"};
    std::mt19937_64 random_{6};  // NOLINT: the same in every run
};

// Who shares an answer about the recipient alone, and who shares any answer.
std::string alone(const asked& a) {
    return a.question.recipient.key() + '|' + a.question.to.text() + '|' + a.fingerprint;
}
std::string with_sender(const asked& a) {
    const auto size = a.question.parameters.size;
    return alone(a) + '|' + a.question.sender + '|' + (size ? std::to_string(*size) : "none");
}

struct told {
    std::string alone;
    std::string with_sender;
    smtpclient::verdict verdict;
};

}  // namespace

TEST_CASE("what is known of a question was learnt of that question") {
    generator random;
    milter::cache_settings settings;
    settings.stale = 0s;
    cache known(settings, milter::verdicts::make_store([] {
                    milter::cache_settings s;
                    s.store = "memory";
                    return s;
                }()));
    moment now{steady_clock::time_point{1000h}, wall_time{1700000000000ms}};
    std::map<std::string, told> learnt;  // by mark
    std::size_t found = 0;
    for (int n = 0; n < 20000; ++n) {
        const auto step = std::chrono::milliseconds(random.below(3000));
        now = {now.steady + step, now.wall + step};
        const asked a = random.question();
        const auto key = known.key_of(a.question, a.fingerprint);
        if (random.below(3) == 0) {
            const std::string mark = "m" + std::to_string(n) + ".test";
            const auto v = random.verdict(mark);
            known.store(key, a.question.recipient, v, now);
            learnt[mark] = {alone(a), with_sender(a), v};
            continue;
        }
        const auto hit = known.find(key, a.question.recipient, now);
        if (!hit) continue;
        ++found;
        const auto v = hit->verdict();
        const auto source = learnt.find(v->host);
        REQUIRE(source != learnt.end());
        CAPTURE(with_sender(a));
        CHECK(source->second.alone == alone(a));
        if (!smtpclient::about_recipient_alone(*v)) {
            CHECK(source->second.with_sender == with_sender(a));
        }
        CHECK(v->finding == source->second.verdict.finding);
        CHECK(now.steady >= hit->learnt);
        CHECK(now.steady < hit->expires);
    }
    CHECK(found > 2000);
}
