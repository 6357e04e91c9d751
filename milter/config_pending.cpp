#include "milter/config_pending.h"

#include <algorithm>
#include <array>

namespace callforward::milter {

namespace {

struct pending_value {
    std::string_view section;
    std::string_view key;
    std::string_view value;  // one that ends with ':' stands for all that begin with it
};

constexpr std::array pending_values{
    pending_value{"policy", "tls", "dane"},
    pending_value{"policy", "tls", "dane-only"},
    pending_value{"policy", "tls", "fingerprint"},
    pending_value{"policy", "tls", "verify"},
    pending_value{"policy", "tls", "secure"},
    pending_value{"policy", "probe_until", "data"},
    pending_value{"cache", "store", "redis:"},
    pending_value{"cache", "store", "rediss:"},
    pending_value{"cache", "store", "redis+unix:"},
};

}  // namespace

const std::vector<pending_key>& pending_keys() {
    static const std::vector<pending_key> keys{
        {"policy", "sender_fallback", pending_type::text, ""},
        {"policy", "tls_match", pending_type::list, ""},
        {"policy", "tls_fingerprints", pending_type::list, ""},
        {"policy", "tls_ca_file", pending_type::text, ""},
        {"policy", "tls_cert_file", pending_type::text, ""},
        {"policy", "tls_key_file", pending_type::text, ""},
        {"policy", "xclient", pending_type::flag, "false"},
        {"policy", "auth_username", pending_type::text, ""},
        {"policy", "auth_password_file", pending_type::text, ""},
        {"cache", "store_user", pending_type::text, ""},
        {"cache", "store_password_file", pending_type::text, ""},
        {"cache", "store_timeout", pending_type::duration, "50ms"},
        {"cache", "store_trust", pending_type::duration, "60s"},
        {"control", "socket", pending_type::text, "/run/callforward/control.sock"},
        {"metrics", "listen", pending_type::text, ""},
    };
    return keys;
}

const pending_key* find_pending(std::string_view section, std::string_view key) {
    const auto& keys = pending_keys();
    const auto row = std::find_if(keys.begin(), keys.end(), [&](const pending_key& k) {
        return k.section == section && k.key == key;
    });
    return row == keys.end() ? nullptr : &*row;
}

std::vector<std::string_view> pending_names(std::string_view section) {
    std::vector<std::string_view> names;
    for (const pending_key& k : pending_keys()) {
        if (k.section == section) names.push_back(k.key);
    }
    return names;
}

bool is_pending_value(std::string_view section, std::string_view key, std::string_view value) {
    return std::any_of(pending_values.begin(), pending_values.end(), [&](const pending_value& p) {
        const bool same = p.value.ends_with(':') ? value.starts_with(p.value) : value == p.value;
        return p.section == section && p.key == key && same;
    });
}

}  // namespace callforward::milter
