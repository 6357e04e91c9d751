#include "milter/tool/explain_command.h"

#include "milter/config.h"
#include "milter/control/values.h"
#include "milter/engine.h"
#include "milter/log.h"
#include "milter/recent_decisions.h"
#include "milter/recipient_check.h"
#include "milter/tool/terminal.h"

#include <sysexits.h>

#include <chrono>
#include <ctime>
#include <iostream>
#include <memory>

namespace callforward::tool {

namespace {

constexpr std::size_t label = 12;
constexpr const char* own_words = "what the MTA says by itself, usually 250";

std::string row(std::string_view name, const std::string& text) {
    return left(name, label) + text + '\n';
}

std::string time_of(const json& seconds) {
    if (!seconds.is_number()) return {};
    const std::time_t t = seconds.get<std::int64_t>();
    std::tm parts{};
    localtime_r(&t, &parts);
    char text[32] = {};
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
    return text;
}

colour colour_of(const std::string& outcome) {
    if (outcome == "deliverable" || outcome == "accept") return colour::good;
    return outcome == "undeliverable" || outcome == "reject" ? colour::bad : colour::warning;
}

std::string reply_of(const json& v) {
    std::string reply = text_at(v, "code");
    for (const char* const part : {"enhanced", "text"}) {
        const std::string more = text_at(v, part);
        if (!more.empty()) reply += (reply.empty() ? "" : " ") + more;
    }
    return reply;
}

std::string verdict_text(const json& v, bool colours) {
    const std::string outcome = text_at(v, "outcome");
    std::string text = in_colour(colour_of(outcome), outcome, colours) + ", " +
                       text_at(v, "reason") + " (class " + text_at(v, "class") + ')';
    if (const std::string stage = text_at(v, "stage"); !stage.empty())
        text += ", decided at " + stage;
    if (const std::string host = text_at(v, "host"); !host.empty()) text += " by " + host;
    std::string lines = row("verdict", text);
    const bool replied = !text_at(v, "code").empty();  // else the text is our own
    if (const std::string reply = reply_of(v); !reply.empty())
        lines += row(replied ? "reply" : "", reply);
    if (const std::string detail = text_at(v, "detail"); !detail.empty()) lines += row("", detail);
    const auto tls = v.find("tls");
    if (tls != v.end() && tls->is_object()) {
        const bool verified = tls->value("verified", false);
        lines += row("TLS",
                     text_at(*tls, "version") + ' ' + text_at(*tls, "cipher") +
                         (verified ? ", verified by " + text_at(*tls, "by") : ", not verified"));
    }
    return lines;
}

std::string policy_text(const json& policy) {
    std::string lines = row("policy", text_at(policy, "table"));
    for (const auto& item : policy.at("keys").items()) {
        lines += row("",
                     left(item.key() + " = " + text_at(item.value(), "value"), 44) + ' ' +
                         text_at(item.value(), "from"));
    }
    return lines;
}

std::string route_text(const json& story) {
    const std::string route = text_at(story, "route");
    if (route.empty()) return {};
    std::string text = route == "mx" ? "the MX of its domain" : route;
    const std::string from = text_at(story, "route_from");
    if (story.value("route_assumed", false)) {
        text +=
            " (assumed: where the MTA delivers is not known here; say --mta-route, as in "
            "smtp:[192.0.2.25]:25, the route= of the log line)";
    } else if (!from.empty()) {
        text += " (where the MTA delivered its domain last: " + from + ')';
    }
    return row("route", text);
}

std::string dialogue_text(const json& lines, bool colours) {
    std::string text;
    for (const json& line : lines) {
        const auto said = line.get<std::string>();
        const colour shade = said.starts_with("C:")   ? colour::strong
                             : said.starts_with("*:") ? colour::faint
                                                      : colour::plain;
        text += "  " + in_colour(shade, said, colours) + '\n';
    }
    return text;
}

std::string cache_text(const json& story) {
    std::string lines;
    for (const json& k : story.at("known_before")) {
        lines +=
            row(lines.empty() ? "cache" : "",
                "held " + text_at(k, "outcome") + " (" + text_at(k, "reason") + "), learnt " +
                    duration_words(k.at("age_s").get<std::int64_t>()) + " ago, " +
                    (text_at(k, "state") == "fresh"
                         ? "good for " + duration_words(k.at("expires_in_s").get<std::int64_t>())
                         : "expired"));
    }
    if (lines.empty()) lines = row("cache", "held nothing about it");
    const auto keeps = story.find("would_keep_s");
    if (keeps != story.end() && keeps->is_number()) {
        const auto life = keeps->get<std::int64_t>();
        lines += row("",
                     life > 0 ? "would keep this answer for " + duration_words(life)
                              : "would not keep this answer");
    }
    return lines;
}

std::string outcome_text(const json& story, bool colours) {
    const auto decision = story.find("decision");
    if (decision == story.end() || decision->is_null()) {
        return row("action", "none: --dry asks nobody");
    }
    const std::string action = text_at(*decision, "action");
    std::string lines;
    if (story.value("interlock", false)) {
        lines += row("interlock", "closed for the domain: put off instead of rejected");
    }
    const std::string source = text_at(*decision, "source");
    lines += row("action",
                 in_colour(colour_of(action), action, colours) +
                     (source == "stale" || source == "cache"
                          ? ", from what is known: the next hop cannot be reached"
                          : "") +
                     (decision->value("enforced", true)
                          ? ""
                          : "; the mode does not enforce it, so the client gets 250"));
    const std::string reply = text_at(*decision, "reply");
    const bool told = !reply.empty() && decision->value("enforced", true);
    return lines + row("client gets", told ? reply : own_words);
}

// As the daemon would, from its configuration.
json without_daemon(const daemon_options& o, const explain_options& e) {
    const bool named = !o.config.empty();
    std::string problem;
    const auto asked = milter::envelope_of(e.asked, problem);
    if (!asked) throw tool_error(EX_USAGE, problem);
    milter::log_settings quiet;
    quiet.target = milter::log_target::standard_error;
    quiet.level = milter::log_level::error;
    milter::log::open(quiet);
    try {
        auto s = std::make_shared<milter::settings>(
            milter::load_settings(named ? o.config : milter::default_file, {}, !named));
        s->cache.store = "memory";
        milter::engine asking(*s, 1);
        milter::recipient_check check(asking, s);
        constexpr std::chrono::seconds at_most{70};
        milter::story told = check.explain(*asked, e.asked.dry, at_most);
        milter::tell_whence_route(e.asked, {}, told);
        return milter::control::to_json(told);
    } catch (const milter::config_error& error) {
        throw tool_error(EX_CONFIG, error.what());
    }
}

json ask_daemon(const daemon_options& o, const explain_options& e) {
    json body;
    if (!e.id.empty()) {
        body["id"] = e.id;
    } else {
        body = {{"rcpt", e.asked.rcpt},
                {"from", e.asked.from},
                {"client", e.asked.client},
                {"mta_route", e.asked.mta_route},
                {"dry", e.asked.dry}};
    }
    return daemon_client(o).post("/v1/explain", body);
}

}  // namespace

std::string story_text(const json& story, bool colours) {
    std::string text = in_colour(colour::strong, text_at(story, "rcpt"), colours) + '\n';
    text += row("from", text_at(story, "from") + ", client " + text_at(story, "client"));
    const std::string rule = text_at(story, "scope");
    text += row("scope", rule.empty() ? "not looked at" : rule);
    text += policy_text(story.at("policy"));
    if (const std::string error = text_at(story, "script_error"); !error.empty()) {
        text += row("script",
                    in_colour(colour::warning, "failed, so the policy holds: ", colours) + error);
    }
    text += route_text(story);
    if (story.value("asked", false)) {
        text += row("dialogue", "");
        text += dialogue_text(story.at("dialogue"), colours);
    }
    const auto verdict = story.find("verdict");
    if (verdict != story.end() && !verdict->is_null()) {
        text += verdict_text(*verdict, colours);
    } else {
        text += row("verdict",
                    story.value("dry", false) ? "none: looked up only" : "no answer in time");
    }
    if (const std::string fired = text_at(story, "rule"); !fired.empty())
        text += row("rule", fired);
    return text + cache_text(story) + outcome_text(story, colours);
}

std::string decision_text(const json& found, bool colours) {
    std::string text;
    const json& d = found.at("decision");
    if (d.is_object()) {
        const std::string action = text_at(d, "action");
        text += in_colour(colour::strong, text_at(d, "id"), colours) + ", " +
                time_of(d.at("at_s")) + '\n';
        text += row("rcpt", text_at(d, "rcpt"));
        text += row("from", text_at(d, "from") + ", client " + text_at(d, "client"));
        text += row("route", text_at(d, "route"));
        text += verdict_text(d, colours);
        text += row("action",
                    in_colour(colour_of(action), action, colours) + " (mode " + text_at(d, "mode") +
                        "), answer from " + text_at(d, "source") + ", after " +
                        text_at(d, "elapsed_ms") + " ms");
        const std::string reply = text_at(d, "reply");
        text += row("client got", reply.empty() ? own_words : reply);
    }
    const json& said = found.at("dialogue");
    if (!said.is_object()) return text + row("dialogue", "no longer kept");
    text +=
        row("dialogue",
            said.value("own", false) ? "of " + time_of(said.at("at_s"))
                                     : "that of " + text_at(said, "id") + ", " +
                                           time_of(said.at("at_s")) + ", about the same recipient");
    return text + dialogue_text(said.at("lines"), colours);
}

int run_explain(const daemon_options& o, const explain_options& e) {
    if (e.id.empty() == e.asked.rcpt.empty()) {
        throw tool_error(EX_USAGE, "explain: say a recipient, or --id ID");
    }
    const std::string& rcpt = e.asked.rcpt;
    if (rcpt.find('@') == std::string::npos && milter::parse_trace_id(rcpt)) {
        const std::string hint = rcpt + " looks like the id of a decision: say --id " + rcpt;
        // Without its prefix it may be a user called so.
        if (rcpt.starts_with("cf-")) throw tool_error(EX_USAGE, "explain: " + hint);
        std::cerr << "callforward: " << hint << ", if it is one\n";
    }
    json found;
    try {
        found = ask_daemon(o, e);
    } catch (const tool_error& error) {
        if (error.exit_code() != EX_UNAVAILABLE || !e.id.empty() || !o.socket.empty()) throw;
        const bool is_none = dynamic_cast<const no_daemon*>(&error) != nullptr;
        std::cerr << "callforward: "
                  << (is_none ? "no daemon answers; from the configuration file:"
                              : std::string(error.what()) + "\nSo from the configuration file:")
                  << '\n';
        found = without_daemon(o, e);
    }
    const bool colours = wants_colours();
    if (o.json) {
        std::cout << found.dump() << '\n';
    } else {
        std::cout << (e.id.empty() ? story_text(found, colours) : decision_text(found, colours));
    }
    return EX_OK;
}

}  // namespace callforward::tool
