// bench-noop-milter SOCKET [MS [US]]: the least that a RCPT-only filter of libmilter can cost.
//
// Negotiates like callforward's door (the same steps switched off, the same macros asked for,
// MAIL without reply) and answers every RCPT with CONTINUE. What callforward costs beyond this is
// callforward's. With MS it sleeps so long in each RCPT: what libmilter makes of a filter that has
// to wait for somebody, and so the most that callforward can reach on a cold recipient. With US it
// uses the processor for so many microseconds: what a filter that does anything at all costs.
#include <libmilter/mfapi.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

namespace {

std::chrono::microseconds wait{0};
std::chrono::microseconds work{0};

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

sfsistat rcpt(SMFICTX* /*ctx*/, char** /*arguments*/) {
    if (wait.count() > 0) std::this_thread::sleep_for(wait);
    if (work.count() > 0) {
        const auto end = std::chrono::steady_clock::now() + work;
        while (std::chrono::steady_clock::now() < end) {
        }
    }
    return SMFIS_CONTINUE;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2 || argc > 4) {
        std::fputs("usage: bench-noop-milter SOCKET [MS [US]]\n", stderr);
        return 64;
    }
    if (argc > 2) wait = std::chrono::microseconds(std::lround(1000 * std::atof(argv[2])));
    if (argc > 3) work = std::chrono::microseconds(std::atoi(argv[3]));
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
    if (smfi_register(description) != MI_SUCCESS || smfi_setconn(argv[1]) != MI_SUCCESS ||
        smfi_opensocket(true) != MI_SUCCESS) {
        std::fputs("bench-noop-milter: cannot listen\n", stderr);
        return 1;
    }
    std::puts("ready");
    std::fflush(stdout);
    return smfi_main() == MI_SUCCESS ? 0 : 1;
}
