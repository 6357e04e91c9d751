// bench-noop-milter SOCKET [wait=MS] [work=US] [sandbox] [ask]: the least that a RCPT-only filter
// of libmilter can cost.
//
// Negotiates like callforward's door (the same steps switched off, the same macros asked for,
// MAIL without reply) and answers every RCPT with CONTINUE. What callforward costs beyond this is
// callforward's. With a wait it sleeps so long in each RCPT: what libmilter makes of a filter that
// has to wait for somebody, and so the most that callforward can reach on a cold recipient. With
// work it uses the processor for so many microseconds: what a filter that does anything at all
// costs. With sandbox it is in callforward's: what the system calls of libmilter cost there. With
// ask it asks the next hop about each recipient, the plainest way there is.
#include "milter/sandbox.h"
#include "tests/bench/plain_asking.h"

#include <libmilter/mfapi.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

namespace {

std::chrono::microseconds wait{0};
std::chrono::microseconds work{0};
bool asks = false;

// About the recipient that the MTA names, where it says that it goes.
sfsistat ask(SMFICTX* ctx) {
    using callforward::bench::plain_asking;
    std::string host = "{rcpt_host}";
    std::string address = "{rcpt_addr}";
    const char* const route = smfi_getsymval(ctx, host.data());
    const char* const recipient = smfi_getsymval(ctx, address.data());
    if (route == nullptr || recipient == nullptr) return SMFIS_TEMPFAIL;
    auto* its = static_cast<plain_asking*>(smfi_getpriv(ctx));
    if (its == nullptr) {
        its = std::make_unique<plain_asking>().release();  // close() has it
        smfi_setpriv(ctx, its);
    }
    return its->accepts(route, recipient) ? SMFIS_CONTINUE : SMFIS_TEMPFAIL;
}

sfsistat negotiate(SMFICTX* ctx,
                   unsigned long offered_actions,
                   unsigned long offered_steps,
                   unsigned long /*unused*/,
                   unsigned long /*unused*/,
                   unsigned long* actions,
                   unsigned long* steps,
                   unsigned long* unused_a,
                   unsigned long* unused_b) {
    *steps = (SMFIP_NOCONNECT | SMFIP_NOHELO | SMFIP_NOBODY | SMFIP_NOHDRS | SMFIP_NOEOH |
              SMFIP_NOUNKNOWN | SMFIP_NODATA | SMFIP_NR_MAIL) &
             offered_steps;
    *actions = 0;
    *unused_a = 0;
    *unused_b = 0;
    if ((offered_actions & SMFIF_SETSYMLIST) != 0) {
        *actions = SMFIF_SETSYMLIST;
        std::string names =
            "{client_addr} {auth_authen} {rcpt_mailer} {rcpt_host} {rcpt_addr} {mail_addr} j v";
        if (smfi_setsymlist(ctx, SMFIM_ENVRCPT, names.data()) != MI_SUCCESS) *actions = 0;
    }
    return SMFIS_CONTINUE;
}

sfsistat mail(SMFICTX* /*ctx*/, char** /*arguments*/) {
    return SMFIS_NOREPLY;
}

sfsistat rcpt(SMFICTX* ctx, char** /*arguments*/) {
    if (asks) return ask(ctx);
    if (wait.count() > 0) std::this_thread::sleep_for(wait);
    if (work.count() > 0) {
        const auto end = std::chrono::steady_clock::now() + work;
        while (std::chrono::steady_clock::now() < end) {
        }
    }
    return SMFIS_CONTINUE;
}

sfsistat close(SMFICTX* ctx) {
    const std::unique_ptr<callforward::bench::plain_asking> gone(
        static_cast<callforward::bench::plain_asking*>(smfi_getpriv(ctx)));
    smfi_setpriv(ctx, nullptr);
    return SMFIS_CONTINUE;
}

bool read_argument(std::string_view argument, bool& in_sandbox) {
    if (argument == "sandbox") return in_sandbox = true;
    if (argument == "ask") return asks = true;
    const std::string value(argument.substr(std::min(argument.find('=') + 1, argument.size())));
    if (argument.starts_with("wait=")) {
        wait = std::chrono::microseconds(std::lround(1000 * std::atof(value.c_str())));
        return true;
    }
    work = std::chrono::microseconds(std::atoi(value.c_str()));
    return argument.starts_with("work=");
}

}  // namespace

int main(int argc, char** argv) {
    bool understood = argc > 1;
    bool in_sandbox = false;
    for (int i = 2; i < argc; ++i) understood = understood && read_argument(argv[i], in_sandbox);
    if (!understood) {
        std::fputs("usage: bench-noop-milter SOCKET [wait=MS] [work=US] [sandbox] [ask]\n", stderr);
        return 64;
    }
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    umask(0);  // Postfix comes as its own user
    std::string name = "bench-noop";
    smfiDesc description{};
    description.xxfi_name = name.data();
    description.xxfi_version = SMFI_VERSION;
    description.xxfi_flags = SMFIF_SETSYMLIST;
    description.xxfi_negotiate = negotiate;
    description.xxfi_envfrom = mail;
    description.xxfi_envrcpt = rcpt;
    if (asks) description.xxfi_close = close;
    if (smfi_register(description) != MI_SUCCESS || smfi_setconn(argv[1]) != MI_SUCCESS ||
        smfi_opensocket(true) != MI_SUCCESS) {
        std::fputs("bench-noop-milter: cannot listen\n", stderr);
        return 1;
    }
    if (in_sandbox) callforward::milter::enter_sandbox();
    std::puts("ready");
    std::fflush(stdout);
    return smfi_main() == MI_SUCCESS ? 0 : 1;
}
