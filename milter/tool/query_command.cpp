#include "milter/tool/query_command.h"

#include "smtpclient/printable.h"

#include <nlohmann/json.hpp>
#include <sysexits.h>

namespace callforward::tool {

namespace {

using nlohmann::ordered_json;
using namespace smtpclient;

ordered_json or_null(const std::string& text) {
    return text.empty() ? ordered_json(nullptr) : ordered_json(printable_utf8(text));
}

// What the next hop said, or else what we have to say.
std::string words(const verdict& v) {
    const std::string said = v.reply ? v.reply->text() : std::string{};
    return said.empty() ? v.detail : said;
}

std::string place(const verdict& v) {
    if (v.host.empty()) return {};
    std::string where = v.host;
    if (!v.address.empty() && v.address != v.host) where += " (" + v.address + ')';
    if (v.port != 0) where += " port " + std::to_string(v.port);
    return where;
}

}  // namespace

std::string to_json(const query_options& asked, const query_result& result) {
    const verdict& v = result.verdict;
    ordered_json j;
    j["rcptto"] = printable_utf8(asked.rcptto);
    j["mailfrom"] = asked.mailfrom == "<>" ? std::string{} : printable_utf8(asked.mailfrom);
    j["outcome"] = to_string(v.outcome());
    j["reason"] = to_string(v.finding.reason);
    j["stage"] = v.stage == stage::none ? ordered_json(nullptr) : ordered_json(to_string(v.stage));
    j["code"] = v.reply ? ordered_json(v.reply->code) : ordered_json(nullptr);
    const auto enhanced = v.reply ? v.reply->enhanced() : std::nullopt;
    j["enhanced"] = enhanced ? ordered_json(to_string(*enhanced)) : ordered_json(nullptr);
    j["text"] = or_null(words(v));
    j["host"] = or_null(v.host);
    j["address"] = or_null(v.address);
    j["port"] = v.port != 0 ? ordered_json(v.port) : ordered_json(nullptr);
    if (v.tls) {
        j["tls"] = {{"version", v.tls->version},
                    {"cipher", v.tls->cipher},
                    {"verified", v.tls->verified},
                    {"by", or_null(v.tls->by)}};
    } else {
        j["tls"] = nullptr;
    }
    j["mx"] = v.mx.empty() ? ordered_json(nullptr) : ordered_json(v.mx);
    j["elapsed_ms"] = result.elapsed.count();
    return j.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

std::string to_text(const query_options& asked, const query_result& result) {
    const verdict& v = result.verdict;
    std::string text = printable_utf8(asked.rcptto) + ": " + std::string(to_string(v.outcome())) +
                       " (" + std::string(to_string(v.finding.reason)) + ')';
    const std::string where = place(v);
    if (v.reply) {
        text += "\n  " + (where.empty() ? std::string("the next hop") : where) + " said at " +
                std::string(to_string(v.stage)) + ": " + std::to_string(v.reply->code);
        if (const auto enhanced = v.reply->enhanced()) text += ' ' + to_string(*enhanced);
        text += ' ' + v.reply->text();
    }
    if (!v.detail.empty()) {
        text += "\n  ";
        if (v.stage != stage::none) {
            text += "at " + std::string(to_string(v.stage));
            if (!v.reply && !where.empty()) text += " of " + where;
            text += ": ";
        }
        text += v.detail;
    }
    if (v.finding.reason == reason::loop) text += "\n  to ask one host, say --host '[address]'";
    if (v.tls) {
        text += "\n  over " + v.tls->version + ' ' + v.tls->cipher;
        if (v.tls->verified) text += ", verified by " + v.tls->by;
    }
    return text + "\n  in " + std::to_string(result.elapsed.count()) + " ms";
}

int exit_code(const verdict& v) {
    switch (v.outcome()) {
        case outcome::deliverable:
            return EX_OK;
        case outcome::undeliverable:
            return 1;
        case outcome::undetermined:
            return EX_TEMPFAIL;
    }
    return EX_TEMPFAIL;
}

}  // namespace callforward::tool
