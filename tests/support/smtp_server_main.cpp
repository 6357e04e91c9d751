// test-smtp-server: a rule-driven next hop for end-to-end tests and benchmarks.
//
//   test-smtp-server --listen 127.0.0.1:0 [--listen ...] [--listen-smtps ...] [--unix PATH] [--log
//   FILE]
//                    [--accept-data] [--tls-name NAME ...] [--write-ca FILE] RULES
//
// Prints "listening ADDRESS" for each socket, when all listen. RULES (smtp_rules.h) is read again
// on SIGHUP, which prints "reloaded", or the error, after which the old rules stay. SIGTERM and
// SIGINT end it with 0. Usage errors are 64. Log events: connect, tls, ehlo NAME, helo NAME,
// starttls, mail ADDRESS, rcpt ADDRESS CODE, data, rset, quit, content, message, command LINE,
// unknown LINE, disconnect.
#include "tests/support/smtp_server.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace callforward::testing;

struct arguments {
    smtp_server_options server;
    std::vector<std::string> tls_names;
    std::string write_ca;
    std::string rules;
};

arguments parse_arguments(const std::vector<std::string>& words) {
    arguments parsed;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        const auto value = [&]() -> const std::string& {
            if (++i >= words.size()) throw std::invalid_argument(word + " needs a value");
            return words[i];
        };
        if (word == "--listen")
            parsed.server.listen.push_back(value());
        else if (word == "--listen-smtps")
            parsed.server.listen_smtps.push_back(value());
        else if (word == "--unix")
            parsed.server.listen.push_back("unix:" + value());
        else if (word == "--log")
            parsed.server.log = value();
        else if (word == "--accept-data")
            parsed.server.accept_data = true;
        else if (word == "--tls-name")
            parsed.tls_names.push_back(value());
        else if (word == "--write-ca")
            parsed.write_ca = value();
        else if (word.starts_with("--"))
            throw std::invalid_argument("unknown option " + word);
        else if (parsed.rules.empty())
            parsed.rules = word;
        else
            throw std::invalid_argument("one file of rules only");
    }
    if (parsed.rules.empty()) throw std::invalid_argument("no file of rules");
    if (parsed.server.listen.empty() && parsed.server.listen_smtps.empty()) {
        throw std::invalid_argument("nothing to listen on");
    }
    if (parsed.tls_names.empty()) parsed.tls_names = {"mx.next.test", "localhost"};
    return parsed;
}

void say(const std::string& line) {
    std::puts(line.c_str());
    std::fflush(stdout);
}

int block_signals() {
    sigset_t handled;
    sigemptyset(&handled);
    for (const int number : {SIGHUP, SIGTERM, SIGINT}) sigaddset(&handled, number);
    sigprocmask(SIG_BLOCK, &handled, nullptr);
    return ::signalfd(-1, &handled, SFD_CLOEXEC);
}

void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

void serve(const arguments& given) {
    const unique_fd signals(block_signals());
    raise_descriptor_limit();
    const certificate_authority authority;
    smtp_server_options options = given.server;
    certificate_wish wish;
    wish.dns_names = given.tls_names;
    options.identity = authority.issue(wish);
    if (!given.write_ca.empty()) authority.write(given.write_ca);
    smtp_server server(options, smtp_rules::load(given.rules));
    server.watch(signals.get(), [&] {
        signalfd_siginfo info{};
        if (::read(signals.get(), &info, sizeof info) != sizeof info) return;
        if (info.ssi_signo != SIGHUP) return server.leave();
        try {
            server.set_rules(smtp_rules::load(given.rules));
            say("reloaded");
        } catch (const std::exception& problem) {
            say(problem.what());
        }
    });
    for (const auto& address : server.addresses()) say("listening " + address);
    server.run();
}

}  // namespace

int main(int argc, char** argv) {
    constexpr int usage = 64;
    try {
        serve(parse_arguments({argv + 1, argv + argc}));
        return 0;
    } catch (const std::invalid_argument& problem) {
        std::fprintf(stderr, "test-smtp-server: %s\n", problem.what());
        return usage;
    } catch (const std::exception& problem) {
        std::fprintf(stderr, "test-smtp-server: %s\n", problem.what());
        return 1;
    }
}
