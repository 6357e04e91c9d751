#include "milter/signals.h"

#include <dlfcn.h>

#include <csignal>
#include <stdexcept>

namespace callforward::milter {

namespace {

signal_actions& actions() {
    static signal_actions these;
    return these;
}

sigset_t our_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGHUP, SIGUSR1, SIGTERM, SIGINT}) sigaddset(&set, signal);
    return set;
}

[[noreturn]] void act_on_signals_for_ever() {
    const sigset_t set = our_signals();
    for (;;) {
        switch (sigwaitinfo(&set, nullptr)) {
            case SIGHUP:
            case SIGUSR1:
                actions().reload();
                break;
            case SIGTERM:
            case SIGINT:
                actions().stop();
                break;
            default:
                break;  // EINTR
        }
    }
}

}  // namespace

void block_signals() {
    const sigset_t set = our_signals();
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
}

void act_on_signals(signal_actions wanted) {
    // A build that hides our sigwait() would run, and end at the first reload.
    if (dlsym(RTLD_DEFAULT, "sigwait") != reinterpret_cast<void*>(&sigwait)) {
        throw std::logic_error("this program was built without the signals that it handles itself");
    }
    actions() = std::move(wanted);
}

}  // namespace callforward::milter

// What libmilter calls instead of the C library's; it finds only what the program shows.
extern "C" [[gnu::visibility("default")]] int sigwait(const sigset_t* /*set*/, int* /*signal*/) {
    callforward::milter::act_on_signals_for_ever();
}
