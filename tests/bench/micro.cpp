// bench-micro: what the small steps of a verdict cost (Google Benchmark).
//
// The pure parts only, with the inputs of an ordinary day: a plain accepted recipient, a refusal in
// an enhanced code, a cache that holds a hundred thousand recipients.
#include "milter/config.h"
#include "milter/decision.h"
#include "milter/engine.h"
#include "milter/log.h"
#include "milter/log_line.h"
#include "milter/recipient_check.h"
#include "milter/verdicts/memory.h"
#include "smtpclient/mailbox.h"
#include "smtpclient/reply.h"
#include "tests/milter/example_record.h"

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

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

void log_line_logfmt(benchmark::State& state) {
    const rcpt_record r = tests::example_record();
    for (auto _ : state) benchmark::DoNotOptimize(logfmt_line(r));
}
BENCHMARK(log_line_logfmt);

void log_line_json(benchmark::State& state) {
    const rcpt_record r = tests::example_record();
    for (auto _ : state) benchmark::DoNotOptimize(json_line(r));
}
BENCHMARK(log_line_json);

// All that a RCPT costs which is answered from memory, but libmilter: from what the MTA says to the
// decision, and the log line on its way to a file. With what the name says of it as the second
// part. From 50 SMTP sessions in turn, each with a sender of its own.
void known_rcpt(benchmark::State& state, log_level level) {
    log_settings into;
    into.target = log_target::standard_error;
    into.level = level;
    log::open(into);
    const auto settings =
        std::make_shared<const milter::settings>(parse_settings("[cache]\nstore = \"memory\"\n"
                                                                "[scope]\nexempt_clients = []\n",
                                                                "micro.toml"));
    engine of_all(*settings, 1);
    recipient_check check(of_all, settings);
    const keep_waiting wait = [] { return true; };
    std::vector<std::string> addresses;
    const auto accepted = verdict_of(250, "2.1.5 Ok");
    for (int i = 0; i < 1000; ++i) {
        addresses.push_back("user" + std::to_string(i) + "@d0.bench.test");
        smtpclient::question q;
        q.recipient = *smtpclient::mailbox::parse(addresses.back());
        std::string error;
        q.to.hops = {*smtpclient::parse_next_hop("[127.0.3.1]:25", error)};
        of_all.known().store(of_all.known().key_of(q, settings->default_policy.fingerprint),
                             q.recipient,
                             *accepted,
                             verdicts::moment::now());
    }
    std::vector<envelope> sessions(50);
    for (std::size_t i = 0; i < sessions.size(); ++i) {
        envelope& e = sessions[i];
        e.mta = {"Postfix 3.7.11", "mx.bench.test"};
        e.client_address = "10.1.2." + std::to_string(i);
        e.mail = "<sender" + std::to_string(i) + "@bench.test>";
        e.rcpt_mailer = "smtp";
        e.rcpt_host = "[127.0.3.1]:25";
    }
    std::size_t place = 0;
    std::size_t turn = 0;
    for (auto _ : state) {
        envelope& e = sessions[turn++ % sessions.size()];
        e.rcpt_address = addresses[place];
        e.rcpt.assign(1, '<').append(addresses[place]).append(1, '>');
        benchmark::DoNotOptimize(check.check(e, wait));
        place = (place + 389) % addresses.size();
    }
}
void known_rcpt_logged(benchmark::State& state) {
    known_rcpt(state, log_level::info);
}
void known_rcpt_without_log(benchmark::State& state) {
    known_rcpt(state, log_level::warning);
}
BENCHMARK(known_rcpt_logged);
BENCHMARK(known_rcpt_without_log);

}  // namespace

int main(int argc, char** argv) {
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere >= 0) dup2(nowhere, STDERR_FILENO);  // the log
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
    callforward::milter::log::close();
}
