// [limits] and [interlock] of the configuration.
#pragma once

#include "milter/config_reader.h"

namespace callforward::milter {

void read_limits(const config_node& table,
                 const section_name& section,
                 limits_settings& into,
                 reading& in);
void read_interlock(const config_node& table,
                    const section_name& section,
                    interlock_settings& into,
                    reading& in);

}  // namespace callforward::milter
