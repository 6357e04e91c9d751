// All sections of the configuration but those of config_policy.h.
#pragma once

#include "milter/config_reader.h"

namespace callforward::milter {

// Reads every section of the document that is not about policies, and finds the unknown ones.
void read_plain_sections(const config_node& document, settings& s, reading& in);

}  // namespace callforward::milter
