#include "milter/settings.h"

#include "milter/settings_names.h"
#include "smtpclient/local_rules.h"
#include "smtpclient/reach.h"

#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace callforward::milter {

namespace {

// FNV-1a: the same on every machine and in every release, which a stored key needs.
std::uint64_t hash_of(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325U;
    for (const char c : text) {
        hash ^= static_cast<unsigned char>(c);
        hash *= 0x100000001b3U;
    }
    return hash;
}

std::string hexadecimal(std::uint64_t number) {
    std::array<char, 16> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number, 16).ptr;
    return {digits.data(), end};
}

}  // namespace

std::string_view to_string(policy_mode m) {
    return name_in(policy_mode_names, m);
}

std::string_view to_string(action a) {
    return name_in(action_names, a);
}

std::string verdict_fingerprint(const policy& p) {
    const smtpclient::transport& by = *p.transport;
    std::string text = "sender=";
    switch (p.sender) {
        case sender_choice::original:
            text += "original";
            break;
        case sender_choice::null:
            text += "<>";
            break;
        case sender_choice::fixed:
            text += '<' + p.fixed_sender + '>';
            break;
    }
    text += " helo=" + by.helo + " port=" + std::to_string(by.port);
    text += ' ' + by.tls.text();
    if (by.sender_fallback) text += " sender_fallback=<" + *by.sender_fallback + '>';
    for (const auto& own : by.source_addresses) text += " source=" + own.text();
    if (by.login.wanted()) text += " auth=" + by.login.username;
    if (by.xclient) text += " xclient";
    if (by.proxy_protocol) text += " proxy_protocol";
    if (by.probe_until == smtpclient::probe_end::data) text += " probe_until=data";
    if (by.catch_all_probe) text += " catch_all";
    text += " rules=" +
            (by.rules.empty() ? "none" : hexadecimal(hash_of(smtpclient::text_of(by.rules))));
    return text;
}

bool choose_sender(std::string_view text, policy& into) {
    if (text == "original" || text == "null" || text == "<>") {
        into.sender = text == "original" ? sender_choice::original : sender_choice::null;
        into.fixed_sender.clear();
        return true;
    }
    const auto address = smtpclient::mailbox::parse(text);
    if (!address) return false;
    into.sender = sender_choice::fixed;
    into.fixed_sender = address->address();
    return true;
}

wanted_words words_wanted(const settings& s) {
    wanted_words all;
    const auto add = [&all](const policy& p) {
        all.helo = all.helo || p.transport->xclient;
        all.client = all.client || p.transport->xclient || p.transport->proxy_protocol ||
                     p.script != nullptr;
    };
    add(s.default_policy);
    for (const auto& [domain, its] : s.domain_policies) add(its);
    return all;
}

settings default_settings() {
    settings s;
    for (const char* text : {"127.0.0.0/8", "::1"}) {
        s.scope.exempt_clients.push_back({dns::network::parse(text).value(), "", 0});
    }
    s.routing.deny = smtpclient::default_deny();
    s.default_policy.fingerprint = verdict_fingerprint(s.default_policy);
    return s;
}

}  // namespace callforward::milter
