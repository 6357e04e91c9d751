#include "milter/config_policy.h"

#include "milter/bounded_file.h"
#include "milter/config_identity.h"
#include "milter/config_tls.h"
#include "milter/config_values.h"
#include "milter/script.h"
#include "milter/settings_names.h"
#include "smtpclient/printable.h"

#include <memory>

namespace callforward::milter {

namespace {

using smtpclient::stage;

struct policy_draft {
    policy result;
    smtpclient::transport by;
};

// "relay:[host]": a transport of Postfix where a protocol has to stand. "" where there is none.
std::string unknown_prefix(std::string_view hop) {
    const auto colon = hop.find(':');
    if (colon == std::string_view::npos) return {};
    const bool host_follows = hop.find_first_of("[.", colon) != std::string_view::npos;
    const auto not_of_a_word =
        hop.substr(0, colon).find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-");
    if (!host_follows || colon == 0 || not_of_a_word != std::string_view::npos) return {};
    const std::string prefix(hop.substr(0, colon + 1));
    if (prefix == "smtp:" || prefix == "smtps:" || prefix == "lmtp:") return {};
    return "unknown prefix " + quoted(prefix) + "; there are smtp:, smtps: and lmtp:";
}

void read_hop(const setting& from, const config_node& item, policy& into) {
    std::string error;
    if (item.is != config_node::type::text) {
        from.fail_at(item.where, "is a list of next hops, each a string");
    } else if (item.text == "mta" || item.text == "mx") {
        from.fail_at(item.where, quoted(item.text) + " stands alone, not in a list of next hops");
    } else if (auto hop = smtpclient::parse_next_hop(item.text, error)) {
        into.hops.push_back(std::move(*hop));
    } else {
        const std::string prefix = unknown_prefix(item.text);
        from.fail_at(item.where, "has a bad next hop: " + (prefix.empty() ? error : prefix));
    }
}

void read_route(const setting& from, policy_draft& into) {
    const config_node& value = from.value();
    policy& p = into.result;
    p.hops.clear();
    if (value.is == config_node::type::text) {
        const std::string lower = smtpclient::to_lower(value.text);
        if (value.text == "mta" || value.text == "mx") {
            p.route = value.text == "mta" ? route_choice::mta : route_choice::mx;
            return;
        }
        if (lower == "mta" || lower == "mx") {
            from.fail("is written in lower case: did you mean " + quoted(lower) + '?');
            return;
        }
        p.route = route_choice::list;
        read_hop(from, value, p);
        return;
    }
    if (value.is != config_node::type::array || value.items.empty()) {
        from.fail("must be \"mta\", \"mx\", a next hop, or an array of next hops");
        return;
    }
    p.route = route_choice::list;
    for (const config_node& item : value.items) read_hop(from, item, p);
}

void read_sender(const setting& from, policy_draft& into) {
    const auto text = from.text();
    if (!text || choose_sender(*text, into.result)) return;
    from.fail("must be \"original\", \"null\" or an address, not " + quoted(*text));
}

void read_tls(const setting& from, policy_draft& into) {
    const auto name = from.one_of(smtpclient::tls_level_names());
    const auto level = name ? smtpclient::parse_tls_level(*name) : std::nullopt;
    if (level) into.by.tls.level = *level;
}

void read_script(const setting& from, policy_draft& into) {
    const auto name = from.text();
    if (!name) return;
    into.result.script.reset();
    if (name->empty()) return;
    const std::string& base = from.shared().directory;
    const bool complete = name->starts_with('/') || base.empty();
    const std::string file = complete ? *name : base + '/' + *name;
    file_text contents = read_bounded(file, policy_script::largest_file);
    if (!contents.error.empty()) {
        from.fail("names the file " + quoted(file) + ": " + contents.error);
        return;
    }
    script_problem problem;
    into.result.script = policy_script::make(file, std::move(contents.text), problem);
    if (into.result.script) return;
    from.fail_at({file, static_cast<unsigned>(problem.line), 0},
                 "names a script that can not be used: " + problem.text);
}

template <class Value, class Read>
void take(std::optional<Value> read, Read& into) {
    if (read) into = static_cast<Read>(*read);
}

template <action policy::*Member>
void read_action(const setting& from, policy_draft& into) {
    take(from.one_of_named(action_names), into.result.*Member);
}

template <void (*Read)(const setting&, smtpclient::tls_policy&)>
void read_tls_key(const setting& from, policy_draft& into) {
    Read(from, into.by.tls);
}

template <milliseconds smtpclient::transport::*Member>
void read_limit(const setting& from, policy_draft& into) {
    take(from.time_limit(), into.by.*Member);
}

using key = config_key<policy_draft>;
const std::array policy_keys{
    key{"mode",
        [](const setting& from, policy_draft& p) {
            take(from.one_of_named(policy_mode_names), p.result.mode);
        }},
    key{"route", read_route},
    key{"port",
        [](const setting& from, policy_draft& p) { take(from.integer(1, 65535), p.by.port); }},
    key{"sender", read_sender},
    key{"sender_fallback",
        [](const setting& from, policy_draft& p) { read_sender_fallback(from, p.by); }},
    key{"helo",
        [](const setting& from, policy_draft& p) {
            take(from.checked_text(check_helo), p.by.helo);
        }},
    key{"source_address",
        [](const setting& from, policy_draft& p) { read_source_address(from, p.by); }},
    key{"timeout", read_limit<&smtpclient::transport::timeout>},
    key{"connect_timeout", read_limit<&smtpclient::transport::connect_timeout>},
    key{"reply_timeout", read_limit<&smtpclient::transport::reply_timeout>},
    key{"tls", read_tls},
    key{"tls_match", read_tls_key<read_tls_match>},
    key{"tls_fingerprints", read_tls_key<read_tls_fingerprints>},
    key{"tls_ca_file", read_tls_key<read_tls_ca_file>},
    key{"tls_cert_file", read_tls_key<read_tls_cert_file>},
    key{"tls_key_file", read_tls_key<read_tls_key_file>},
    key{"tls_min",
        [](const setting& from, policy_draft& p) {
            take(from.one_of_named(tls_version_names), p.by.tls.least);
        }},
    key{"tls_mta_sts",
        [](const setting& from, policy_draft& p) { take(from.flag(), p.by.tls.mta_sts); }},
    key{"xclient", [](const setting& from, policy_draft& p) { take(from.flag(), p.by.xclient); }},
    key{"proxy_protocol",
        [](const setting& from, policy_draft& p) { take(from.flag(), p.by.proxy_protocol); }},
    key{"auth_username",
        [](const setting& from, policy_draft& p) { read_auth_username(from, p.by); }},
    key{"auth_password_file",
        [](const setting& from, policy_draft& p) { read_auth_password_file(from, p.by); }},
    key{"probe_until",
        [](const setting& from, policy_draft& p) {
            take(from.one_of_named(probe_end_names), p.by.probe_until);
        }},
    key{"catch_all_probe",
        [](const setting& from, policy_draft& p) { take(from.flag(), p.by.catch_all_probe); }},
    key{"on_undeliverable", read_action<&policy::on_undeliverable>},
    key{"on_sender_refused", read_action<&policy::on_sender_refused>},
    key{"on_deferred", read_action<&policy::on_deferred>},
    key{"on_refused", read_action<&policy::on_refused>},
    key{"on_unreachable", read_action<&policy::on_unreachable>},
    key{"on_insecure", read_action<&policy::on_insecure>},
    key{"reply_text",
        [](const setting& from, policy_draft& p) {
            take(from.one_of_named(reply_text_names), p.result.reply_text);
        }},
    key{"script", read_script},
};

}  // namespace

policy read_policy(const config_node& table,
                   const section_name& section,
                   const policy& base,
                   reading& in) {
    policy_draft draft{base, *base.transport};
    read_section(table, section, policy_keys, draft, in);
    check_tls(table, section, draft.by.tls, in);
    check_identity(table, section, draft.by, in);
    draft.result.transport = std::make_shared<const smtpclient::transport>(std::move(draft.by));
    draft.result.fingerprint = verdict_fingerprint(draft.result);
    auto origin = base.origin ? std::make_shared<policy_origin>(*base.origin)
                              : std::make_shared<policy_origin>();
    origin->table = section.shown;
    for (const config_member& member : table.members) {
        const place line{member.where.file, member.where.line, 0};
        origin->keys[member.name] = section.shown + ", " + line.text();
    }
    draft.result.origin = std::move(origin);
    return std::move(draft.result);
}

void read_domain_policies(const config_node& domains, settings& s, reading& in) {
    if (!is_table(domains, "[domain]", in)) return;
    for (const config_member& member : domains.members) {
        const std::string shown = "[domain." + quoted(member.name) + ']';
        if (member.value.is != config_node::type::table) {
            in.found.add(member.where,
                         quoted(member.name) + " in [domain] is no table: write " + shown);
            continue;
        }
        std::string name = member.name;
        if (name == "*") {
            in.found.add(member.where, shown + ": what holds for all domains stands in [policy]");
            continue;
        }
        if (const std::string wrong = check_policy_domain(name); !wrong.empty()) {
            in.found.add(member.where, shown + ": " + wrong);
            continue;
        }
        // [domain.example.com] is a table in a table: TOML needs the quotes.
        const auto& inner = member.value.members;
        if (inner.size() == 1 && inner.front().value.is == config_node::type::table) {
            in.found.add(inner.front().where,
                         "a domain needs quotes: [domain.\"" +
                             smtpclient::printable_utf8(name + '.' + inner.front().name, 200) +
                             "\"]");
            continue;
        }
        policy p = read_policy(member.value, {shown}, s.default_policy, in);
        if (!s.domain_policies.emplace(name, std::move(p)).second) {
            in.found.add(member.where, shown + ": there is another table for this domain");
        }
    }
}

}  // namespace callforward::milter
