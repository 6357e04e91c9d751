// How the system shares the processor among the daemon's threads (sched(7)).
//
// Most of them are libmilter's, one for each RCPT that waits, and wake each other all the time. Let
// each finish what it does, and what has come for several recipients is answered in one turn, with
// far fewer changes from thread to thread. Not so the event loops: what they have to send goes on a
// way that takes milliseconds, and should not wait behind others that have time. Where a processor
// is free nobody waits, and none of this matters.
#pragma once

namespace callforward::milter {

// For the calling thread and all that it begins. A policy that somebody has chosen for us, other
// than the usual one, stays.
void work_in_batches();
// For the calling thread, when it works in batches: it goes before those that do.
void go_first();

}  // namespace callforward::milter
