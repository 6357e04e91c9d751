// What the process gives up once it serves: a seccomp filter on all its threads (libseccomp).
//
// Nothing here needs to run a program, begin a process, become somebody else, mount, trace, load
// modules, set the clock, or make memory both writable and executable; so none of it is possible
// from now on, for our code and for whoever has got into it: such a call gives EPERM. Everything
// else is allowed: a list of what is needed would be that of one C library and one kernel, and a
// mail gate that dies of an upgrade is no gain. The unit for systemd takes away more. Not under the
// sanitizers, which start processes of their own.
#pragma once

namespace callforward::milter {

// After the last privileged act. Without a kernel or a container that lets us, a warning in the
// log.
void enter_sandbox();

}  // namespace callforward::milter
