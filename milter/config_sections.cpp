#include "milter/config_sections.h"

#include "dns/domain.h"
#include "milter/bounded_file.h"
#include "milter/config_limits.h"
#include "milter/config_store.h"
#include "milter/config_values.h"
#include "milter/fleet/store_address.h"
#include "smtpclient/printable.h"

namespace callforward::milter {

namespace {

constexpr std::int64_t most_entries = 1'000'000'000;

template <class Value, class Read>
void take(std::optional<Value> read, Read& into) {
    if (read) into = static_cast<Read>(std::move(*read));
}

template <std::string (*Check)(std::string&)>
std::optional<std::vector<list_entry>> checked(const setting& from) {
    return from.entries([](list_entry& entry) { return Check(entry.text); });
}

std::optional<std::vector<listed_network>> networks(const setting& from) {
    std::vector<listed_network> all;
    const auto read = from.entries([&](list_entry& entry) {
        const auto network = dns::network::parse(entry.text);
        if (!network) return quoted(entry.text) + " is not a network, as in \"192.0.2.0/24\"";
        all.push_back({*network, entry.file, entry.line});
        return std::string();
    });
    if (!read) return std::nullopt;
    return all;
}

// --- [milter] ---

std::string check_account(std::string& name) {
    const bool good = std::all_of(name.begin(), name.end(), [](char c) {
        return c > ' ' && c < 0x7f && c != ':' && c != '/';
    });
    return good && name.size() <= 256 ? std::string() : quoted(name) + " is not an account name";
}

void read_socket_mode(const setting& from, milter_settings& s) {
    const auto text = from.text();
    if (!text) return;
    const auto mode = parse_octal_mode(*text);
    if (!mode) from.fail("must be an octal mode, as in \"0660\", not " + quoted(*text));
    take(mode, s.socket_mode);
}

void read_answer_within(const setting& from, milter_settings& s) {
    if (from.value().is == config_node::type::text && from.value().text == "auto") {
        s.answer_within.reset();
    } else if (const auto time = from.duration(milliseconds(500), std::chrono::hours(1))) {
        s.answer_within = *time;
    }
}

using milter_key = config_key<milter_settings>;
const std::array milter_keys{
    milter_key{"socket",
               [](const setting& from, milter_settings& s) {
                   take(from.checked_text([](std::string& t) { return check_socket(t); }),
                        s.socket);
               }},
    milter_key{"socket_mode", read_socket_mode},
    milter_key{"socket_group",
               [](const setting& from, milter_settings& s) {
                   take(from.checked_text(check_account), s.socket_group);
               }},
    milter_key{"user",
               [](const setting& from, milter_settings& s) {
                   take(from.checked_text(check_account), s.user);
               }},
    milter_key{"answer_within", read_answer_within},
};

// --- [scope] ---

using scope_key = config_key<scope_settings>;
const std::array scope_keys{
    scope_key{"domains",
              [](const setting& from, scope_settings& s) {
                  take(checked<check_scope_domain>(from), s.domains);
              }},
    scope_key{
        "exempt_clients",
        [](const setting& from, scope_settings& s) { take(networks(from), s.exempt_clients); }},
    scope_key{
        "exempt_authenticated",
        [](const setting& from, scope_settings& s) { take(from.flag(), s.exempt_authenticated); }},
    scope_key{"exempt_recipients",
              [](const setting& from, scope_settings& s) {
                  take(checked<check_exempt_recipient>(from), s.exempt_recipients);
              }},
    scope_key{"exempt_senders",
              [](const setting& from, scope_settings& s) {
                  take(checked<check_exempt_sender>(from), s.exempt_senders);
              }},
};

// --- [routing] ---

void read_my_names(const setting& from, routing_settings& s) {
    std::vector<std::string> names;
    const auto read = from.entries([&](list_entry& entry) {
        const auto name = dns::domain::parse(entry.text);
        if (!name) return quoted(entry.text) + " is not a host name";
        names.push_back(name->name());
        return std::string();
    });
    if (read) s.my_names = std::move(names);
}

void read_my_addresses(const setting& from, routing_settings& s) {
    std::vector<dns::ip_address> addresses;
    const auto read = from.entries([&](list_entry& entry) {
        const auto address = dns::ip_address::parse(entry.text);
        if (!address) return quoted(entry.text) + " is not an address";
        addresses.push_back(*address);
        return std::string();
    });
    if (read) s.my_addresses = std::move(addresses);
}

void read_deny(const setting& from, routing_settings& s) {
    const auto read = networks(from);
    if (!read) return;
    s.deny.clear();
    for (const listed_network& listed : *read) s.deny.push_back(listed.network);
}

void read_mailers(const setting& from, routing_settings& s) {
    if (!is_table(from.value(), "\"mailers\" in [routing]", from.shared())) return;
    s.mailers.clear();
    for (const config_member& member : from.value().members) {
        mailer_rule rule;
        const bool is_text = member.value.is == config_node::type::text;
        const std::string wrong = parse_mailer(is_text ? member.value.text : "", rule);
        const std::string name = smtpclient::to_lower(member.name);
        if (!wrong.empty()) {
            from.fail_at(member.value.where, "has " + quoted(member.name) + ", which " + wrong);
        } else if (!s.mailers.emplace(name, rule).second) {
            from.fail_at(member.where, "names " + quoted(name) + " twice");
        }
    }
}

// A Postfix virtual(5) file also has local names and the domains themselves on the left: no
// addresses, so nothing for us. Its regular expressions can not be looked up.
std::string check_alias_entry(list_entry& entry) {
    const bool address = entry.text.find('@') != std::string::npos && !entry.text.starts_with('/');
    if (address || entry.file.empty() || entry.text.starts_with('/'))
        return check_alias(entry.text);
    entry.text.clear();
    return {};
}

std::string check_folder(std::string& path) {
    return path.starts_with('/') ? "" : "must be an absolute path, not " + quoted(path);
}

using routing_key = config_key<routing_settings>;
const std::array routing_keys{
    routing_key{"my_names", read_my_names},
    routing_key{"my_addresses", read_my_addresses},
    routing_key{"deny", read_deny},
    routing_key{"mailers", read_mailers},
    routing_key{"virtual_aliases",
                [](const setting& from, routing_settings& s) {
                    take(from.entries(check_alias_entry, indented_line::continues),
                         s.virtual_aliases);
                }},
    routing_key{"queue_directory",
                [](const setting& from, routing_settings& s) {
                    take(from.checked_text(check_folder), s.queue_directory);
                }},
};

// --- [dns], [cache], [control], [metrics], [log] ---

void read_servers(const setting& from, dns_settings& s) {
    const auto read = checked<check_dns_server>(from);
    if (!read) return;
    s.servers.clear();
    for (const list_entry& entry : *read) s.servers.push_back(entry.text);
}

void read_trust_ad(const setting& from, dns_settings& s) {
    if (from.value().is == config_node::type::flag) {
        s.trust_ad = from.value().flag ? dns::trust_in_ad::yes : dns::trust_in_ad::no;
    } else if (from.value().is == config_node::type::text && from.value().text == "auto") {
        s.trust_ad = dns::trust_in_ad::automatic;
    } else {
        from.fail("must be \"auto\", true or false");
    }
}

using dns_key = config_key<dns_settings>;
const std::array dns_keys{
    dns_key{"servers", read_servers},
    dns_key{"timeout",
            [](const setting& from, dns_settings& s) { take(from.time_limit(), s.timeout); }},
    dns_key{"trust_ad", read_trust_ad},
};

void read_store(const setting& from, cache_settings& s) {
    const auto store = from.text();
    if (!store) return;
    if (*store == "memory") {
        s.store = *store;
    } else if (store->starts_with("lmdb:")) {
        std::string directory = store->substr(5);
        const std::string wrong = check_folder(directory);
        if (!wrong.empty()) from.fail("= \"lmdb:DIRECTORY\" " + wrong);
        while (directory.size() > 1 && directory.ends_with('/')) directory.pop_back();
        s.store = "lmdb:" + directory;
    } else if (fleet::is_shared_store(*store)) {
        read_shared_store(from, *store, s);
    } else {
        from.fail(
            "must be \"memory\", \"lmdb:DIRECTORY\", \"redis://HOST:PORT/DB\", "
            "\"rediss://...\", \"redis+unix:/path\", \"redis+sentinel://...\" or "
            "\"rediss+sentinel://...\", not " +
            quoted(*store));
    }
}

using cache_key = config_key<cache_settings>;
const std::array cache_keys{
    cache_key{"store", read_store},
    cache_key{"store_user", read_store_user},
    cache_key{"store_password_file", read_store_password},
    cache_key{"store_timeout",
              [](const setting& from, cache_settings& s) {
                  take(from.duration(milliseconds(1), milliseconds(10000)), s.store_timeout);
              }},
    cache_key{"store_trust",
              [](const setting& from, cache_settings& s) {
                  take(from.duration(milliseconds(0), std::chrono::hours(24 * 365)), s.store_trust);
              }},
    cache_key{"deliverable",
              [](const setting& from, cache_settings& s) { take(from.lifetime(), s.deliverable); }},
    cache_key{"stale",
              [](const setting& from, cache_settings& s) { take(from.lifetime(), s.stale); }},
    cache_key{
        "undeliverable",
        [](const setting& from, cache_settings& s) { take(from.lifetime(), s.undeliverable); }},
    cache_key{
        "undeliverable_max",
        [](const setting& from, cache_settings& s) { take(from.lifetime(), s.undeliverable_max); }},
    cache_key{
        "undetermined",
        [](const setting& from, cache_settings& s) { take(from.lifetime(), s.undetermined); }},
    cache_key{"catch_all",
              [](const setting& from, cache_settings& s) { take(from.lifetime(), s.catch_all); }},
    cache_key{"capacity",
              [](const setting& from, cache_settings& s) {
                  take(from.integer(0, most_entries), s.capacity);
              }},
    cache_key{"undeliverable_capacity",
              [](const setting& from, cache_settings& s) {
                  take(from.integer(0, most_entries), s.undeliverable_capacity);
              }},
};

std::string check_control_socket(std::string& path) {
    constexpr std::size_t longest = 107;  // sockaddr_un
    if (path.empty()) return {};
    if (const std::string wrong = check_folder(path); !wrong.empty()) return wrong;
    return path.size() <= longest ? "" : "is too long for a socket: at most 107 bytes";
}

using control_key = config_key<control_settings>;
const std::array control_keys{
    control_key{"socket",
                [](const setting& from, control_settings& s) {
                    take(from.checked_text(check_control_socket), s.socket);
                }},
};

std::string check_listen(std::string& where) {
    if (where.empty() || parse_listen(where)) return {};
    return quoted(where) + " is not an address and port, as in \"127.0.0.1:9589\"";
}

using metrics_key = config_key<metrics_settings>;
const std::array metrics_keys{
    metrics_key{"listen",
                [](const setting& from, metrics_settings& s) {
                    take(from.checked_text(check_listen), s.listen);
                }},
    metrics_key{
        "show_addresses",
        [](const setting& from, metrics_settings& s) { take(from.flag(), s.show_addresses); }},
};

using log_key = config_key<log_settings>;
const std::array log_keys{
    log_key{"target",
            [](const setting& from, log_settings& s) {
                take(from.one_of_named(log_target_names), s.target);
            }},
    log_key{"format",
            [](const setting& from, log_settings& s) {
                take(from.one_of_named(log_format_names), s.format);
            }},
    log_key{"level",
            [](const setting& from, log_settings& s) {
                take(from.one_of_named(log_level_names), s.level);
            }},
};

}  // namespace

void read_plain_sections(const config_node& document, settings& s, reading& in) {
    constexpr std::array<std::string_view, 13> sections{"milter",
                                                        "scope",
                                                        "policy",
                                                        "domain",
                                                        "routing",
                                                        "classify",
                                                        "dns",
                                                        "cache",
                                                        "limits",
                                                        "interlock",
                                                        "control",
                                                        "metrics",
                                                        "log"};
    for (const config_member& member : document.members) {
        const std::string& name = member.name;
        const config_node& table = member.value;
        const section_name section{'[' + name + ']'};
        if (name == "milter") {
            read_section(table, section, milter_keys, s.milter, in);
        } else if (name == "scope") {
            read_section(table, section, scope_keys, s.scope, in);
        } else if (name == "routing") {
            read_section(table, section, routing_keys, s.routing, in);
        } else if (name == "dns") {
            read_section(table, section, dns_keys, s.dns, in);
        } else if (name == "cache") {
            read_section(table, section, cache_keys, s.cache, in);
        } else if (name == "limits") {
            read_limits(table, section, s.limits, in);
        } else if (name == "interlock") {
            read_interlock(table, section, s.interlock, in);
        } else if (name == "control") {
            read_section(table, section, control_keys, s.control, in);
        } else if (name == "metrics") {
            read_section(table, section, metrics_keys, s.metrics, in);
        } else if (name == "log") {
            read_section(table, section, log_keys, s.log, in);
        } else if (std::find(sections.begin(), sections.end(), name) == sections.end()) {
            unknown_name(member.where, "section", name, "", sections, in);
        }
    }
}

}  // namespace callforward::milter
