// [policy], [domain."..."] and [[classify]]: what becomes of a milter::policy.
#pragma once

#include "milter/config_reader.h"

#include <string>
#include <vector>

namespace callforward::milter {

[[nodiscard]] std::vector<smtpclient::classify_rule> read_classify(const config_node& rules,
                                                                   reading& in);

// Reads the table over `base`, and makes the fingerprint.
[[nodiscard]] policy read_policy(const config_node& table,
                                 const section_name& section,
                                 const policy& base,
                                 reading& in);

// The tables below [domain], each on top of s.default_policy.
void read_domain_policies(const config_node& domains, settings& s, reading& in);

}  // namespace callforward::milter
