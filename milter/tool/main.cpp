// The operator's tool.
#include "milter/standard_files.h"
#include "milter/tool/commands.h"
#include "milter/tool/query_command.h"
#include "milter/tool/terminal.h"
#include "milter/version.h"
#include "smtpclient/mailbox.h"
#include "smtpclient/next_hop.h"
#include "smtpclient/printable.h"
#include "smtpclient/tls_words.h"

#include <CLI/CLI.hpp>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <iostream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using namespace callforward;

struct query_arguments {
    smtpclient::query_options options;
    double timeout_seconds = 60;
    smtpclient::tls_words tls;
    bool json = false;
    bool verbose = false;
};

// At least the one, at most the other; else it says what is wanted.
CLI::Validator number_within(double least, double most, const std::string& wanted) {
    return {[=](const std::string& text) {
                double number = 0;
                const char* const end = text.data() + text.size();
                const auto [stop, error] = std::from_chars(text.data(), end, number);
                const bool good = error == std::errc{} && stop == end;
                return good && number >= least && number <= most ? std::string{}
                                                                 : wanted + ", not " + text;
            },
            ""};
}

std::string not_empty(const std::string& text) {
    return text.empty() ? "it is empty; leave it out to ask the MX of the recipient's domain" : "";
}

void add_query(CLI::App& app, query_arguments& arguments) {
    auto* const command = app.add_subcommand(
        "query", "Ask the server that would get the mail whether it takes this recipient");
    auto& options = arguments.options;
    command->add_option("--rcptto", options.rcptto, "Recipient to ask about")->required();
    command->add_option("--mailfrom", options.mailfrom, "Sender; the null sender if not given");
    command
        ->add_option("--host",
                     options.host,
                     "Server: host (its MX), [host] or address (as it is), or unix:/path "
                     "(LMTP); the MX of the recipient's domain if not given")
        ->check(not_empty);
    command->add_option("--port", options.port, "Port; 25, or 24 for LMTP, if not given")
        ->check(number_within(1, 65535, "a port is a number from 1 to 65535"));
    command
        ->add_option("--timeout", arguments.timeout_seconds, "Bound on the whole call in seconds")
        ->capture_default_str()
        ->check(number_within(0.001, 86400, "seconds, as a number up to 86400"));
    command->add_option("--helo", options.helo, "Name to say in EHLO; this host's if not given");
    command
        ->add_option("--source-address",
                     options.source_address,
                     "Address to ask from, given once for each family; the system's choice if not "
                     "given")
        ->allow_extra_args(false);
    command->add_flag("--lmtp", options.lmtp, "Speak LMTP (RFC 2033)");
    command->add_option("--tls", arguments.tls.level, "Level, as in Postfix: none, may, ... secure")
        ->capture_default_str();
    command->add_option(
        "--tls-match", arguments.tls.match, "What the certificate is to be for; may be repeated");
    command->add_option("--tls-fingerprint",
                        arguments.tls.fingerprints,
                        "SHA-256 of the certificate or its key, for --tls fingerprint; may be "
                        "repeated");
    command->add_option(
        "--tls-ca-file", arguments.tls.ca_file, "Certificates to trust; the system's if not given");
    command->add_flag("--json", arguments.json, "Print one JSON object");
    command->add_flag(
        "-v,--verbose", arguments.verbose, "Print the dialogue to stderr as it happens");
}

int usage(const std::string& message) {
    std::cerr << "callforward: " << message << '\n';
    return EX_USAGE;
}

void check_readable(const std::string& ca_file) {
    if (ca_file.empty() || access(ca_file.c_str(), R_OK) == 0) return;
    throw tool::tool_error(
        EX_NOINPUT,
        "--tls-ca-file: cannot read " + ca_file + ": " + std::generic_category().message(errno));
}

int run_query(query_arguments& arguments) {
    auto& options = arguments.options;
    if (smtpclient::mailbox::parse_local_user(options.rcptto)) {
        return usage("--rcptto: " + smtpclient::printable_utf8(options.rcptto, 100) +
                     " has no domain, so it is a user of whichever MTA is told it, and no other "
                     "can be asked; say USER@DOMAIN");
    }
    std::string not_a_hop;  // told by query()
    const auto hop = smtpclient::parse_next_hop(options.host, not_a_hop);
    if (hop && hop->port != 0 && options.port != 0 && hop->port != options.port) {
        return usage("--port: --host says port " + std::to_string(hop->port) +
                     "; say one of them only");
    }
    check_readable(arguments.tls.ca_file);
    const smtpclient::tls_word_names called{
        "--tls", "--tls-match", "--tls-fingerprint", "--tls-ca-file"};
    const std::string wrong = smtpclient::read_tls(arguments.tls, called, options.tls);
    if (!wrong.empty()) return usage(wrong);
    options.timeout =
        std::chrono::milliseconds(static_cast<long>(arguments.timeout_seconds * 1000));
    if (arguments.verbose) {
        options.trace = [](char side, std::string_view line) {
            std::cerr << side << ": " << smtpclient::printable_utf8(line) << '\n';
        };
    }
    try {
        const auto result = smtpclient::query(options);
        std::cout << (arguments.json ? tool::to_json(options, result)
                                     : tool::to_text(options, result))
                  << '\n';
        return tool::exit_code(result.verdict);
    } catch (const std::invalid_argument& e) {
        return usage(e.what());
    }
}

// What is wrong with the command line.
std::string complaint_of(const CLI::App& app, const CLI::ParseError& e) {
    const CLI::App* at = &app;
    while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
    if (at->get_require_subcommand_min() == 0) return e.what();
    const auto words = at->remaining();
    const auto word = std::find_if(
        words.begin(), words.end(), [](const auto& each) { return !each.starts_with('-'); });
    if (word == words.end()) return std::string(e.what()) + "; see --help";
    return "there is no subcommand \"" + (at == &app ? "" : at->get_name() + ' ') +
           smtpclient::printable_utf8(*word, 100) + "\"; see --help";
}

int run(int argc, char** argv) {
    CLI::App app("Verify mail recipients at the server that would get the mail.");
    app.set_version_flag("--version", std::string("callforward ") + version);
    app.require_subcommand(1);
    query_arguments query;
    add_query(app, query);
    const tool::commands others(app);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& e) {
        return app.exit(e);
    } catch (const CLI::ParseError& e) {
        return usage(complaint_of(app, e));
    }
    if (app.got_subcommand("query")) return run_query(query);
    return others.run();
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    milter::keep_standard_files();
    try {
        const int code = run(argc, argv);
        tool::finish_output();
        return code;
    } catch (const tool::tool_error& e) {
        std::cerr << "callforward: " << e.what() << '\n';
        return e.exit_code();
    } catch (const std::exception& e) {
        std::cerr << "callforward: " << e.what() << '\n';
        return EX_TEMPFAIL;
    }
}
