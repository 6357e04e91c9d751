// Standard input, output and error of a program, also where it is started without some of them, as
// by
// `<&- >&- 2>&-`: the next file or socket would get such a number, and what is printed or logged.
//
// What is not there is /dev/null, read only: reading finds an end, writing fails, as it does on
// what is closed. Where there is no /dev/null all stays as it is.
#pragma once

#include <string>

namespace callforward::milter {

void keep_standard_files();  // first thing in main
// What was printed is where it was to go: "", or why it is not.
[[nodiscard]] std::string flush_output();

}  // namespace callforward::milter
