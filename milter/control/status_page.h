// The status page, status_page.html, as it was at build time.
#pragma once

#include <string_view>

namespace callforward::milter::control {

[[nodiscard]] std::string_view status_page();

}  // namespace callforward::milter::control
