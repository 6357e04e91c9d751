// The subcommands that speak with the daemon, as the command line names them.
#pragma once

#include "milter/tool/daemon_client.h"
#include "milter/tool/explain_command.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace CLI {
class App;
}

namespace callforward::tool {

class commands {
public:
    // Adds them to the program's own; must outlive the parse.
    explicit commands(CLI::App& app);

    // Of the subcommand that was given; 64 when it was none of these. Throws tool_error.
    [[nodiscard]] int run() const;

private:
    CLI::App* add(CLI::App& to, const char* name, const char* what, std::function<int()> run);
    void add_cache(CLI::App& app);
    void add_explain(CLI::App& app);
    void add_report(CLI::App& app);

    daemon_options options_;
    std::string argument_;
    explain_options explain_;
    std::string since_ = "24h";
    std::string domain_;
    std::vector<std::pair<CLI::App*, std::function<int()>>> all_;
};

}  // namespace callforward::tool
