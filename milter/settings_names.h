// The words of the configuration for the enumerations of settings.h: a table of each, read both
// ways, or a reader.
#pragma once

#include "milter/settings.h"

#include <array>
#include <string_view>
#include <utility>

namespace callforward::milter {

template <class Value>
using named = std::pair<Value, std::string_view>;

inline constexpr std::array policy_mode_names{
    named<policy_mode>{policy_mode::enforce, "enforce"},
    named<policy_mode>{policy_mode::monitor, "monitor"},
    named<policy_mode>{policy_mode::off, "off"},
};
inline constexpr std::array action_names{
    named<action>{action::reject, "reject"},
    named<action>{action::tempfail, "tempfail"},
    named<action>{action::accept, "accept"},
};
inline constexpr std::array reply_text_names{
    named<reply_text>{reply_text::upstream, "upstream"},
    named<reply_text>{reply_text::neutral, "neutral"},
};
inline constexpr std::array tls_version_names{
    named<smtpclient::tls_version>{smtpclient::tls_version::tls1_0, "1.0"},
    named<smtpclient::tls_version>{smtpclient::tls_version::tls1_1, "1.1"},
    named<smtpclient::tls_version>{smtpclient::tls_version::tls1_2, "1.2"},
    named<smtpclient::tls_version>{smtpclient::tls_version::tls1_3, "1.3"},
};
inline constexpr std::array probe_end_names{
    named<smtpclient::probe_end>{smtpclient::probe_end::rcpt, "rcpt"},
    named<smtpclient::probe_end>{smtpclient::probe_end::data, "data"},
};
inline constexpr std::array log_target_names{
    named<log_target>{log_target::automatic, "auto"},
    named<log_target>{log_target::syslog, "syslog"},
    named<log_target>{log_target::standard_error, "stderr"},
};
inline constexpr std::array log_format_names{
    named<log_format>{log_format::logfmt, "logfmt"},
    named<log_format>{log_format::json, "json"},
};
inline constexpr std::array log_level_names{
    named<log_level>{log_level::error, "error"},
    named<log_level>{log_level::warning, "warning"},
    named<log_level>{log_level::info, "info"},
    named<log_level>{log_level::debug, "debug"},
};

// The key `sender`: "original", "null" or "<>", or an address. False for anything else, which
// changes nothing.
[[nodiscard]] bool choose_sender(std::string_view text, policy& into);

template <class Names, class Value>
[[nodiscard]] constexpr std::string_view name_in(const Names& names, Value wanted) {
    for (const auto& [value, name] : names) {
        if (value == wanted) return name;
    }
    return "?";
}

}  // namespace callforward::milter
