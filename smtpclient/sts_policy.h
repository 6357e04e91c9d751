// An MTA-STS policy (RFC 8461 section 3.2) and the record that announces it, read. Pure.
//
// Both are a stranger's: unknown fields are skipped, as the RFC wants, and what has no version, no
// valid mode, no max_age or, unless the mode is none, no mx is no policy at all.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::smtpclient {

struct sts_policy {
    enum class mode { none, testing, enforce };

    mode how = mode::none;
    std::vector<std::string> patterns;  // "mx.example.com", "*.example.com"; lower case
    std::chrono::seconds max_age{0};    // a year at most

    // Whether the policy lists this mail exchanger; a wildcard stands for one label.
    [[nodiscard]] bool covers(std::string_view host) const;
    bool operator==(const sts_policy&) const = default;
};

// Nothing, and in `why` what is wrong.
[[nodiscard]] std::optional<sts_policy> parse_sts_policy(std::string_view untrusted,
                                                         std::string& why);

// The id of the one record that begins "v=STSv1"; nothing when there is none, or more than one, or
// a bad one: then the domain has no MTA-STS (section 3.1).
[[nodiscard]] std::optional<std::string> sts_id(const std::vector<std::string>& untrusted_records);

}  // namespace callforward::smtpclient
