// The daemon's signals, all in one place: HUP and USR1 reload, TERM and INT stop, PIPE is ignored.
//
// libmilter waits for HUP, TERM and INT with sigwait() on a thread of its own and ends at each of
// them; a second waiter, or a handler, wins most of the time and loses some. So this room defines
// sigwait() itself: the dynamic linker gives libmilter ours, which never returns, and whose thread
// does what the signals ask for. No signal can be lost to a race, and SIGHUP stays the reload that
// administrators expect.
#pragma once

#include <functional>

namespace callforward::milter {

struct signal_actions {  // run on libmilter's signal thread, one at a time
    std::function<void()> reload;
    std::function<void()> stop;
};

// Blocks the signals for this thread and those it starts. First thing in main.
void block_signals();
// Before smfi_main; signals that came earlier are pending and not lost.
void act_on_signals(signal_actions actions);

}  // namespace callforward::milter
