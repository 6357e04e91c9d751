// How a coroutine is begun that is to last as long as its event loop.
//
// Each goes on by itself, after a pause, when there was no memory, or no thread, for something.
// What leaves it nevertheless, such as want of memory for that very pause, ends the program, which
// is started anew (main.cpp): silently without it the edge would be deaf, and would not know.
#pragma once

#include <exception>

namespace callforward::milter::fleet {

struct endless {
    void operator()(const std::exception_ptr& thrown) const noexcept {
        if (thrown) std::rethrow_exception(thrown);
    }
};

}  // namespace callforward::milter::fleet
