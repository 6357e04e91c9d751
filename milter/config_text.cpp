#include "milter/config.h"
#include "milter/config_values.h"
#include "milter/script.h"
#include "milter/settings_names.h"
#include "smtpclient/certificate.h"

#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace callforward::milter {

namespace {

// A TOML basic string. The text is UTF-8: it came from TOML, or was checked when a list was read.
std::string string_of(std::string_view text) {
    std::string result = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            result += '\\';
            result += c;
        } else if (byte < 0x20 || byte == 0x7f) {
            std::array<char, 8> escape{};
            std::snprintf(escape.data(), escape.size(), "\\u%04X", static_cast<unsigned>(byte));
            result += escape.data();
        } else {
            result += c;
        }
    }
    return result + '"';
}

class toml_text {
public:
    void section(const std::string& header) {
        text_ += (text_.empty() ? "" : "\n") + header + '\n';
    }
    void raw(std::string_view key, const std::string& value) {
        text_.append(key).append(" = ").append(value) += '\n';
    }
    void word(std::string_view key, std::string_view value) { raw(key, string_of(value)); }
    void time(std::string_view key, milliseconds value) { word(key, format_duration(value)); }
    template <class List, class Text>
    void list(std::string_view key, const List& items, Text text) {
        std::string value = "[";
        for (const auto& item : items) {
            if (value.size() > 1) value += ", ";
            value += string_of(text(item));
        }
        raw(key, value + ']');
    }
    [[nodiscard]] std::string take() { return std::move(text_); }

private:
    std::string text_;
};

const std::string& text_of_entry(const list_entry& entry) {
    return entry.text;
}

const std::string& same(const std::string& text) {
    return text;
}

void write(toml_text& out, const milter_settings& s) {
    std::array<char, 8> mode{};
    std::snprintf(mode.data(), mode.size(), "%04o", s.socket_mode & 0777U);
    out.section("[milter]");
    out.word("socket", s.socket);
    out.word("socket_mode", mode.data());
    out.word("socket_group", s.socket_group);
    out.word("user", s.user);
    out.word("answer_within", s.answer_within ? format_duration(*s.answer_within) : "auto");
}

void write(toml_text& out, const scope_settings& s) {
    out.section("[scope]");
    out.list("domains", s.domains, text_of_entry);
    out.list("exempt_clients", s.exempt_clients, [](const auto& n) { return n.network.text(); });
    out.raw("exempt_authenticated", s.exempt_authenticated ? "true" : "false");
    out.list("exempt_recipients", s.exempt_recipients, text_of_entry);
    out.list("exempt_senders", s.exempt_senders, text_of_entry);
}

void write_route(toml_text& out, const policy& p) {
    switch (p.route) {
        case route_choice::mta:
            out.word("route", "mta");
            break;
        case route_choice::mx:
            out.word("route", "mx");
            break;
        case route_choice::list:
            out.list("route", p.hops, [](const auto& hop) { return to_string(hop); });
            break;
    }
}

std::string_view text_of_sender(const policy& p) {
    switch (p.sender) {
        case sender_choice::original:
            return "original";
        case sender_choice::null:
            return "null";
        case sender_choice::fixed:
            return p.fixed_sender;
    }
    return {};
}

void write(toml_text& out, const smtpclient::tls_policy& tls) {
    out.word("tls", to_string(tls.level));
    out.list("tls_match", tls.match, same);
    out.list("tls_fingerprints", tls.fingerprints, [](const auto& digits) {
        return smtpclient::with_colons(digits);
    });
    out.word("tls_ca_file", tls.authorities.path());
    out.word("tls_cert_file", tls.certificate.path());
    out.word("tls_key_file", tls.key.path());
    out.word("tls_min", to_string(tls.least));
    out.raw("tls_mta_sts", tls.mta_sts ? "true" : "false");
}

std::string_view text_of_fallback(const smtpclient::transport& by) {
    if (!by.sender_fallback) return {};
    return by.sender_fallback->empty() ? std::string_view("null") : *by.sender_fallback;
}

void write(toml_text& out, const std::string& header, const policy& p) {
    const smtpclient::transport& by = *p.transport;
    out.section(header);
    out.word("mode", to_string(p.mode));
    write_route(out, p);
    out.raw("port", std::to_string(by.port));
    out.word("sender", text_of_sender(p));
    out.word("sender_fallback", text_of_fallback(by));
    out.word("helo", by.helo);
    out.list("source_address", by.source_addresses, [](const auto& a) { return a.text(); });
    out.time("timeout", by.timeout);
    out.time("connect_timeout", by.connect_timeout);
    out.time("reply_timeout", by.reply_timeout);
    write(out, by.tls);
    out.raw("xclient", by.xclient ? "true" : "false");
    out.raw("proxy_protocol", by.proxy_protocol ? "true" : "false");
    out.word("auth_username", by.login.username);
    out.word("auth_password_file", by.login.password_file);
    out.word("probe_until", name_in(probe_end_names, by.probe_until));
    out.raw("catch_all_probe", by.catch_all_probe ? "true" : "false");
    out.word("on_undeliverable", to_string(p.on_undeliverable));
    out.word("on_sender_refused", to_string(p.on_sender_refused));
    out.word("on_deferred", to_string(p.on_deferred));
    out.word("on_refused", to_string(p.on_refused));
    out.word("on_unreachable", to_string(p.on_unreachable));
    out.word("on_insecure", to_string(p.on_insecure));
    out.word("reply_text", name_in(reply_text_names, p.reply_text));
    out.word("script", p.script ? p.script->file() : std::string());
}

std::string text_of(const mailer_rule& rule) {
    if (rule.skip) return "skip";
    const std::string kind = rule.protocol == smtpclient::protocol::lmtp ? "lmtp" : "smtp";
    return rule.port == 0 ? kind : kind + ':' + std::to_string(rule.port);
}

void write(toml_text& out, const routing_settings& s) {
    out.section("[routing]");
    out.list("my_names", s.my_names, same);
    out.list("my_addresses", s.my_addresses, [](const auto& a) { return a.text(); });
    out.list("deny", s.deny, [](const auto& n) { return n.text(); });
    std::string mailers;
    for (const auto& [name, rule] : s.mailers) {
        mailers += mailers.empty() ? " " : ", ";
        mailers += string_of(name) + " = " + string_of(text_of(rule));
    }
    out.raw("mailers", '{' + (mailers.empty() ? "" : mailers + ' ') + '}');
    out.list("virtual_aliases", s.virtual_aliases, text_of_entry);
    out.word("queue_directory", s.queue_directory);
}

void write(toml_text& out, const smtpclient::classify_rule& rule) {
    out.section("[[classify]]");
    if (rule.stage) out.word("stage", to_string(*rule.stage));
    if (rule.code) out.raw("code", std::to_string(*rule.code));
    if (rule.enhanced) out.word("enhanced", to_string(*rule.enhanced));
    if (rule.text) out.word("text", rule.text->pattern());
    out.word("as", to_string(rule.as));
}

void write(toml_text& out, const cache_settings& s) {
    out.section("[cache]");
    out.word("store", s.store);
    out.word("store_user", s.store_user);
    out.word("store_password_file", s.store_password_file);
    out.time("store_timeout", s.store_timeout);
    out.time("store_trust", s.store_trust);
    out.time("deliverable", s.deliverable);
    out.time("stale", s.stale);
    out.time("undeliverable", s.undeliverable);
    out.time("undeliverable_max", s.undeliverable_max);
    out.time("undetermined", s.undetermined);
    out.time("catch_all", s.catch_all);
    out.raw("capacity", std::to_string(s.capacity));
    out.raw("undeliverable_capacity", std::to_string(s.undeliverable_capacity));
}

void write(toml_text& out, const limits_settings& s) {
    const auto number = [&](std::string_view key, std::size_t value) {
        out.raw(key, std::to_string(value));
    };
    out.section("[limits]");
    number("connections_per_host", s.sessions.connections_per_host);
    number("connections", s.sessions.connections);
    number("fleet_connections_per_host", s.fleet_connections_per_host);
    out.time("idle_session", s.sessions.idle_session);
    number("recipients_per_session", s.sessions.recipients_per_session);
    number("recipients_refused_per_session", s.sessions.recipients_refused_per_session);
    number("pending", s.pending);
    number("pending_share", s.pending_share);
    number("unknown_per_client", s.unknown_per_client);
    out.time("unknown_window", s.unknown_window);
    out.time("host_penalty", s.sessions.host_penalty);
    number("shards", s.shards);
}

void write(toml_text& out, const interlock_settings& s) {
    out.section("[interlock]");
    out.list("canaries", s.canaries, same);
    out.raw("flip_limit", std::to_string(s.flip_limit));
    out.time("flip_window", s.flip_window);
}

}  // namespace

std::vector<std::pair<std::string, std::string>> policy_values(const policy& p) {
    toml_text out;
    write(out, "[policy]", p);
    const std::string text = out.take();
    std::vector<std::pair<std::string, std::string>> values;
    for (std::size_t begin = 0; begin < text.size();) {
        const auto end = std::min(text.find('\n', begin), text.size());
        const std::string line = text.substr(begin, end - begin);
        begin = end + 1;
        const auto equals = line.find(" = ");
        if (equals == std::string::npos) continue;
        values.emplace_back(line.substr(0, equals), line.substr(equals + 3));
    }
    return values;
}

std::string to_toml(const settings& s) {
    toml_text out;
    write(out, s.milter);
    write(out, s.scope);
    write(out, "[policy]", s.default_policy);
    for (const auto& [name, p] : s.domain_policies) {
        write(out, "[domain." + string_of(name) + ']', p);
    }
    write(out, s.routing);
    for (const auto& rule : s.default_policy.transport->rules) write(out, rule);
    out.section("[dns]");
    out.list("servers", s.dns.servers, same);
    out.time("timeout", s.dns.timeout);
    if (s.dns.trust_ad == dns::trust_in_ad::automatic) {
        out.word("trust_ad", "auto");
    } else {
        out.raw("trust_ad", s.dns.trust_ad == dns::trust_in_ad::yes ? "true" : "false");
    }
    write(out, s.cache);
    write(out, s.limits);
    write(out, s.interlock);
    out.section("[control]");
    out.word("socket", s.control.socket);
    out.section("[metrics]");
    out.word("listen", s.metrics.listen);
    out.raw("show_addresses", s.metrics.show_addresses ? "true" : "false");
    out.section("[log]");
    out.word("target", name_in(log_target_names, s.log.target));
    out.word("format", name_in(log_format_names, s.log.format));
    out.word("level", name_in(log_level_names, s.log.level));
    return out.take();
}

}  // namespace callforward::milter
