#include "milter/scope.h"

#include "smtpclient/printable.h"

#include <algorithm>

namespace callforward::milter {

namespace {

using smtpclient::mailbox;
using smtpclient::reason;

// The address with all bits beyond the prefix cleared: equal for all addresses of one network.
std::string network_key(const dns::ip_address& address, unsigned length) {
    const auto bytes = address.v6();
    std::string key(bytes.begin(), bytes.end());
    unsigned bits = length + (address.is_v4() ? 96 : 0);
    for (char& c : key) {
        const unsigned here = std::min(bits, 8U);
        c = static_cast<char>(static_cast<unsigned char>(c) & (0xffU << (8 - here)));
        bits -= here;
    }
    return key;
}

// Calls back with each ".suffix" of the name, the longest first, until one is found.
template <class Find>
auto longest_suffix(std::string_view name, Find find) -> decltype(find(name)) {
    for (auto dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.', dot + 1)) {
        if (const auto found = find(name.substr(dot))) return found;
    }
    return {};
}

}  // namespace

scope::scope(const settings& s) : exempt_authenticated_(s.scope.exempt_authenticated) {
    for (const list_entry& entry : s.scope.domains) add(domains_, entry);
    for (const listed_network& listed : s.scope.exempt_clients) add_network(listed);
    std::sort(clients_.begin(), clients_.end(), [](const prefix& a, const prefix& b) {
        return a.length > b.length;
    });
    for (const list_entry& entry : s.scope.exempt_recipients) add(recipients_, entry);
    for (const list_entry& entry : s.scope.exempt_senders) add(senders_, entry);
    for (const list_entry& entry : s.routing.virtual_aliases) add(aliases_, entry);
}

// The first of equal entries stays, but "!" wins.
void scope::add(table& to, const list_entry& entry) {
    const bool negative = entry.text.starts_with('!');
    origin from{entry.text, entry.file, entry.line, negative};
    const auto [spot, is_new] = to.try_emplace(entry.text.substr(negative ? 1 : 0), from);
    if (!is_new && negative && !spot->second.negative) spot->second = std::move(from);
}

void scope::add_network(const listed_network& listed) {
    const dns::ip_address& base = listed.network.base();
    const unsigned length = listed.network.prefix_length();
    auto level = std::find_if(clients_.begin(), clients_.end(), [&](const prefix& p) {
        return p.is_v4 == base.is_v4() && p.length == length;
    });
    if (level == clients_.end()) {
        level = clients_.insert(clients_.end(), prefix{base.is_v4(), length, {}});
    }
    level->networks.try_emplace(network_key(base, length),
                                origin{listed.network.text(), listed.file, listed.line, false});
}

const scope::origin* scope::find(const table& in, std::string_view key) {
    const auto found = in.find(key);
    return found == in.end() ? nullptr : &found->second;
}

const scope::origin* scope::find_domain(const table& in, std::string_view name) {
    if (const origin* exact = find(in, name)) return exact;
    return longest_suffix(name, [&](std::string_view suffix) { return find(in, suffix); });
}

const scope::origin* scope::find_client(std::string_view untrusted) const {
    const auto address = dns::ip_address::parse_literal(untrusted);
    if (!address) return nullptr;
    for (const prefix& level : clients_) {
        if (level.is_v4 != address->is_v4()) continue;
        if (const origin* by = find(level.networks, network_key(*address, level.length))) return by;
    }
    return nullptr;
}

scope_decision scope::skip(reason why,
                           std::string_view list,
                           const origin* by,
                           std::string_view otherwise) {
    std::string rule = std::string(list) + ": ";
    if (by == nullptr) return {why, rule.append(otherwise)};
    rule += by->entry;
    if (!by->file.empty()) rule += " (" + by->file + ':' + std::to_string(by->line) + ')';
    return {why, std::move(rule)};
}

std::optional<scope_decision> scope::exempt(const envelope& e, const mailbox& recipient) const {
    if (e.client_address.empty()) {
        return skip(reason::exempt, "exempt_clients", nullptr, "no client: local submission");
    }
    if (const origin* by = find_client(e.client_address)) {
        return skip(reason::exempt, "exempt_clients", by);
    }
    if (exempt_authenticated_ && !e.authenticated.empty()) {
        return skip(reason::exempt, "exempt_authenticated", nullptr, "the client has logged in");
    }
    if (!senders_.empty()) {
        if (e.mail == "<>") {
            if (const origin* by = find(senders_, e.mail)) {
                return skip(reason::exempt, "exempt_senders", by);
            }
        } else if (const auto sender = mailbox::parse(e.mail)) {
            const origin* by = find(senders_, smtpclient::to_lower(sender->key()));
            if (by == nullptr && sender->domain()) {
                by = find_domain(senders_, sender->domain()->name());
            }
            if (by != nullptr) return skip(reason::exempt, "exempt_senders", by);
        }
    }
    const std::string address = smtpclient::to_lower(recipient.key());
    const origin* by = find(recipients_, address);
    if (by == nullptr) by = find(recipients_, smtpclient::to_lower(recipient.local_part()));
    if (by != nullptr) return skip(reason::exempt, "exempt_recipients", by);
    return std::nullopt;
}

scope_decision scope::decide(const envelope& e, const mailbox& recipient) const {
    if (auto exempted = exempt(e, recipient)) return std::move(*exempted);
    if (!aliases_.empty()) {
        const std::string address = smtpclient::to_lower(recipient.key());
        const origin* by = find(aliases_, address);
        if (by == nullptr && recipient.domain()) {
            by = find(aliases_, '@' + recipient.domain()->name());
        }
        if (by != nullptr) return skip(reason::alias, "virtual_aliases", by);
    }
    const origin* by =
        recipient.domain() ? find_domain(domains_, recipient.domain()->name()) : nullptr;
    if (by == nullptr) by = find(domains_, "*");
    scope_decision decision = skip(reason::not_in_scope, "domains", by, "no entry matches");
    if (by != nullptr && !by->negative) decision.skip.reset();
    return decision;
}

const policy& policy_for(const settings& s, const mailbox& recipient) {
    if (!recipient.domain()) return s.default_policy;
    const auto find = [&](std::string_view name) -> const policy* {
        const auto found = s.domain_policies.find(name);
        return found == s.domain_policies.end() ? nullptr : &found->second;
    };
    const std::string_view name = recipient.domain()->name();
    const policy* its = find(name);
    if (its == nullptr) its = longest_suffix(name, find);
    return its == nullptr ? s.default_policy : *its;
}

}  // namespace callforward::milter
