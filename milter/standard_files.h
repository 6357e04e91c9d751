// Descriptors 0, 1 and 2 of a program that is started without some of them, as by `<&- >&- 2>&-`:
// the next file or socket would get such a number, and what is printed or logged.
//
// First thing in main. Reading finds an end, writing fails, as it does on what is closed. Without
// /dev/null all stays as it is.
#pragma once

namespace callforward::milter {

void keep_standard_files();

}  // namespace callforward::milter
