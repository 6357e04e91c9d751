#include "milter/tool/commands.h"

#include "milter/tool/cache_command.h"
#include "milter/tool/report_command.h"
#include "milter/tool/status_command.h"
#include "milter/tool/top_command.h"

#include <CLI/CLI.hpp>
#include <sysexits.h>

namespace callforward::tool {

commands::commands(CLI::App& app) {
    add(app, "status", "How the daemon fares", [this] { return run_status(options_); });
    add(app, "hosts", "The next hops that the daemon knows", [this] {
        return run_hosts(options_);
    });
    add(app, "top", "Status and next hops, once a second, until q", [this] {
        return run_top(options_);
    });
    add_explain(app);
    add_report(app);
    add_cache(app);
    add(app, "reload", "Have the daemon read its configuration again", [this] {
        return run_reload(options_);
    });
}

CLI::App* commands::add(CLI::App& to,
                        const char* name,
                        const char* what,
                        std::function<int()> run) {
    auto* const command = to.add_subcommand(name, what);
    command->add_option("--socket", options_.socket, "The daemon's control socket")
        ->type_name("PATH");
    command
        ->add_option("-c,--config", options_.config, "The daemon's configuration, which names it")
        ->type_name("FILE");
    command->add_flag("--json", options_.json, "Print JSON");
    all_.emplace_back(command, std::move(run));
    return command;
}

void commands::add_cache(CLI::App& app) {
    auto* const cache = app.add_subcommand("cache", "What the daemon knows about recipients");
    cache->require_subcommand(1);
    const auto takes = [this](CLI::App* command, const char* name, const char* what) {
        command->add_option(name, argument_, what)->required();
    };
    takes(add(*cache,
              "show",
              "What is known of an address, or of a domain",
              [this] { return run_cache_show(options_, argument_); }),
          "address_or_domain",
          "USER@DOMAIN or DOMAIN");
    takes(add(*cache,
              "forget",
              "Forget what is known of an address, or of a domain",
              [this] { return run_cache_forget(options_, argument_); }),
          "address_or_domain",
          "USER@DOMAIN or DOMAIN");
    takes(add(*cache,
              "import",
              "Learn addresses that are known to exist",
              [this] { return run_cache_import(options_, argument_); }),
          "file",
          "One address a line, # begins a comment; - is standard input");
    add(*cache, "export", "Print what the store holds", [this] {
        return run_cache_export(options_);
    });
    add(*cache, "flush", "Forget everything", [this] { return run_cache_flush(options_); });
}

void commands::add_explain(CLI::App& app) {
    auto* const command = add(app, "explain", "The whole story of a decision", [this] {
        return run_explain(options_, explain_);
    });
    command->add_option("rcpt", explain_.asked.rcpt, "Recipient");
    command->add_option("--from", explain_.asked.from, "Sender; the null sender if not given")
        ->type_name("ADDRESS");
    command
        ->add_option(
            "--client", explain_.asked.client, "Client; one that nothing exempts if not given")
        ->type_name("IP");
    command
        ->add_option("--mta-route",
                     explain_.asked.mta_route,
                     "Where the MTA would deliver; where it last delivered the domain, or smtp and "
                     "the domain, if not given")
        ->type_name("MAILER:HOST");
    command->add_flag("--dry", explain_.asked.dry, "Look up only, connect to nobody");
    command->add_option("--id", explain_.id, "A decision that was made, by its id in log or reply")
        ->type_name("ID");
}

void commands::add_report(CLI::App& app) {
    auto* const command = add(app, "report", "What mode monitor would have refused", [this] {
        return run_report(options_, since_, domain_);
    });
    command->add_option("--since", since_, "How far back, as in 24h or 7d")
        ->type_name("TIME")
        ->capture_default_str();
    command->add_option("--domain", domain_, "Only this domain")->type_name("DOMAIN");
}

int commands::run() const {
    for (const auto& [command, run] : all_) {
        if (command->parsed()) return run();
    }
    return EX_USAGE;
}

}  // namespace callforward::tool
