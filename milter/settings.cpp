#include "milter/settings.h"

#include "milter/settings_names.h"

#include <re2/re2.h>

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

// One line a rule; a pattern can hold a line feed, so its length is told before it.
std::string text_of(const std::vector<smtpclient::classify_rule>& rules) {
    std::string text;
    for (const auto& rule : rules) {
        text += rule.stage ? to_string(*rule.stage) : "-";
        text += rule.code ? ' ' + std::to_string(*rule.code) : " -";
        text += rule.enhanced ? ' ' + to_string(*rule.enhanced) : " -";
        const std::string pattern = rule.text ? rule.text->pattern() : std::string();
        text += ' ' + std::to_string(pattern.size()) + ':' + pattern;
        text += ' ' + std::string(to_string(rule.as)) + '\n';
    }
    return text;
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
    text += " tls=" + std::string(to_string(by.tls));
    text += " tls_min=" + std::string(name_in(tls_version_names, by.tls_min));
    if (by.catch_all_probe) text += " catch_all";
    text += " rules=" + (by.rules.empty() ? "none" : hexadecimal(hash_of(text_of(by.rules))));
    return text;
}

settings default_settings() {
    settings s;
    for (const char* text : {"127.0.0.0/8", "::1"}) {
        s.scope.exempt_clients.push_back({dns::network::parse(text).value(), "", 0});
    }
    for (const char* text :
         {"127.0.0.0/8", "::1/128", "0.0.0.0/8", "169.254.0.0/16", "fe80::/10", "224.0.0.0/4"}) {
        s.routing.deny.push_back(dns::network::parse(text).value());
    }
    s.default_policy.fingerprint = verdict_fingerprint(s.default_policy);
    return s;
}

}  // namespace callforward::milter
