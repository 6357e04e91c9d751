// bench-micro: what the small steps of a verdict cost (Google Benchmark).
//
// The pure parts only, with the inputs of an ordinary day: a plain accepted recipient, a refusal in
// an enhanced code, a cache that holds a hundred thousand recipients.
#include "milter/decision.h"
#include "milter/log_line.h"
#include "milter/verdicts/memory.h"
#include "smtpclient/mailbox.h"
#include "smtpclient/reply.h"

#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

namespace {

using namespace callforward;
using namespace callforward::milter;

constexpr std::size_t recipients = 100'000;

smtpclient::question question_about(const std::string& address) {
    smtpclient::question q;
    q.sender = "sender@bench.example";
    q.recipient = *smtpclient::mailbox::parse(address);
    std::string error;
    q.to.hops.push_back(*smtpclient::parse_next_hop("[127.0.3.1]:25", error));
    return q;
}

std::shared_ptr<const smtpclient::verdict> verdict_of(int code, const std::string& text) {
    auto v = std::make_shared<smtpclient::verdict>();
    const bool accepted = code < 300;
    v->finding = accepted ? smtpclient::finding{smtpclient::verdict_class::deliverable,
                                                smtpclient::reason::accepted}
                          : smtpclient::finding{smtpclient::verdict_class::undeliverable,
                                                smtpclient::reason::unknown_user};
    v->stage = smtpclient::stage::rcpt;
    v->reply = smtpclient::reply{code, {text}};
    v->host = "hop.bench.test";
    v->address = "127.0.3.1";
    v->port = 25;
    v->next_hop_names = {"hop.bench.test", "127.0.3.1"};
    return v;
}

void parse_replies(benchmark::State& state, const std::string& bytes) {
    smtpclient::reply_parser parser;
    for (auto _ : state) {
        std::string_view input = bytes;
        while (!input.empty()) {
            if (parser.feed(input) != smtpclient::reply_parser::progress::complete) break;
            benchmark::DoNotOptimize(parser.take());
        }
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}

void reply_of_one_line(benchmark::State& state) {
    parse_replies(state, "250 2.1.5 Ok\r\n");
}
BENCHMARK(reply_of_one_line);

void reply_to_ehlo(benchmark::State& state) {
    parse_replies(state,
                  "250-hop.test\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-STARTTLS\r\n"
                  "250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n");
}
BENCHMARK(reply_to_ehlo);

void mailbox_parse(benchmark::State& state) {
    const std::string address = "<some.body+tag@department.example.com>";
    for (auto _ : state) benchmark::DoNotOptimize(smtpclient::mailbox::parse(address));
}
BENCHMARK(mailbox_parse);

void question_key_made(benchmark::State& state) {
    const auto q = question_about("some.body@example.com");
    const std::string fingerprint = verdict_fingerprint(policy{});
    for (auto _ : state) {
        const verdicts::question_key key(q, fingerprint);
        benchmark::DoNotOptimize(key.recipient_only().first);
    }
}
BENCHMARK(question_key_made);

// With the keys made beforehand: the table alone.
void cache_look_up(benchmark::State& state, bool known) {
    cache_settings settings;
    verdicts::memory memory(settings, 1);
    std::vector<verdicts::question_key> keys;
    const auto accepted = verdict_of(250, "2.1.5 Ok");
    const auto now = verdicts::steady_clock::now();
    for (std::size_t i = 0; i < recipients; ++i) {
        const std::string local = std::to_string(i);
        const verdicts::question_key key(question_about("u" + local + "@example.com"), "f");
        memory.store(key, *accepted, now);
        keys.emplace_back(question_about((known ? "u" : "n") + local + "@example.com"), "f");
    }
    std::size_t place = 0;
    for (auto _ : state) {
        benchmark::DoNotOptimize(memory.find(keys[place], now));
        place = (place + 7919) % recipients;
    }
}
void cache_hit(benchmark::State& state) {
    cache_look_up(state, true);
}
void cache_miss(benchmark::State& state) {
    cache_look_up(state, false);
}
BENCHMARK(cache_hit);
BENCHMARK(cache_miss);

void cache_store(benchmark::State& state) {
    cache_settings settings;
    verdicts::memory memory(settings, 1);
    std::vector<verdicts::question_key> keys;
    for (std::size_t i = 0; i < recipients; ++i) {
        keys.emplace_back(question_about("u" + std::to_string(i) + "@example.com"), "f");
    }
    const auto accepted = verdict_of(250, "2.1.5 Ok");
    const auto now = verdicts::steady_clock::now();
    std::size_t place = 0;
    for (auto _ : state) {
        memory.store(keys[place], *accepted, now);
        place = (place + 7919) % recipients;
    }
}
BENCHMARK(cache_store);

void decide_on(benchmark::State& state, int code, const std::string& text) {
    const auto v = verdict_of(code, text);
    const auto recipient = smtpclient::mailbox::parse("some.body@example.com");
    const policy p;
    for (auto _ : state) benchmark::DoNotOptimize(decide(*v, p, &*recipient));
}
void decision_to_accept(benchmark::State& state) {
    decide_on(state, 250, "2.1.5 Ok");
}
void decision_to_reject(benchmark::State& state) {
    decide_on(state, 550, "5.1.1 <some.body@example.com>: user unknown at hop.bench.test");
}
BENCHMARK(decision_to_accept);
BENCHMARK(decision_to_reject);

rcpt_record record() {
    rcpt_record r;
    r.id = make_trace_id(0x123456789);
    r.rcpt = "some.body@example.com";
    r.from = "sender@bench.example";
    r.client = "192.0.2.1";
    r.domain = "example.com";
    r.route = "[127.0.3.1]:25";
    r.host = "hop.bench.test";
    r.address = "127.0.3.1";
    r.stage = smtpclient::stage::rcpt;
    r.code = 250;
    r.enhanced = "2.1.5";
    r.outcome = smtpclient::outcome::deliverable;
    r.reason = smtpclient::reason::accepted;
    r.verdict_class = smtpclient::verdict_class::deliverable;
    r.source = source::cache;
    r.elapsed = std::chrono::milliseconds(0);
    r.text = "Ok";
    return r;
}

void log_line_logfmt(benchmark::State& state) {
    const rcpt_record r = record();
    for (auto _ : state) benchmark::DoNotOptimize(logfmt_line(r));
}
BENCHMARK(log_line_logfmt);

void log_line_json(benchmark::State& state) {
    const rcpt_record r = record();
    for (auto _ : state) benchmark::DoNotOptimize(json_line(r));
}
BENCHMARK(log_line_json);

}  // namespace

BENCHMARK_MAIN();
