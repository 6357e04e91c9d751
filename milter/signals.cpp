#include "milter/signals.h"

#include <csignal>

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
    actions() = std::move(wanted);
}

}  // namespace callforward::milter

// What libmilter calls instead of the C library's.
extern "C" int sigwait(const sigset_t* /*set*/, int* /*signal*/) {
    callforward::milter::act_on_signals_for_ever();
}
