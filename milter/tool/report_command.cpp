#include "milter/tool/report_command.h"

#include "milter/config_values.h"
#include "milter/tool/terminal.h"

#include <sysexits.h>

#include <iostream>

namespace callforward::tool {

std::optional<std::int64_t> seconds_of(const std::string& span) {
    const auto parsed = milter::parse_duration(span);
    if (!parsed || parsed->count() < 0) return std::nullopt;
    return std::chrono::ceil<std::chrono::seconds>(*parsed).count();
}

std::string report_text(const json& report, bool colours) {
    const json& rows = report.at("rows");
    const std::string span = duration_words(report.at("since_s").get<std::int64_t>());
    if (rows.empty()) {
        return "In mode \"monitor\" nothing would have been refused in the last " + span + ".\n";
    }
    std::string text = "What mode \"monitor\" let pass in the last " + span +
                       ", and \"enforce\" would not have:\n";
    for (const json& r : rows) {
        const bool rejects = r.at("action") == "reject";
        text += right(r.at("count").dump(), 8) + "  " +
                in_colour(rejects ? colour::bad : colour::warning,
                          left(r.at("action").get<std::string>(), 8),
                          colours) +
                ' ' + left(r.at("reason").get<std::string>(), 16) + ' ' +
                r.at("domain").get<std::string>() + '\n';
        for (const json& example : r.at("examples")) {
            text += std::string(10, ' ') +
                    in_colour(colour::faint, example.get<std::string>(), colours) + '\n';
        }
    }
    return text;
}

int run_report(const daemon_options& o, const std::string& since, const std::string& domain) {
    const auto seconds = seconds_of(since);
    if (!seconds) {
        throw tool_error(EX_USAGE, "--since: \"" + since + "\" is no time span, as in 24h or 7d");
    }
    daemon_client::parameters with{{"since", std::to_string(*seconds)}};
    if (!domain.empty()) with.emplace("domain", domain);
    const json report = daemon_client(o).get("/v1/report", with);
    std::cout << (o.json ? report.dump() + '\n' : report_text(report, wants_colours()));
    return EX_OK;
}

}  // namespace callforward::tool
