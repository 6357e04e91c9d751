#include "milter/sandbox.h"

#include "milter/log.h"

#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <memory>
#include <system_error>

namespace callforward::milter {

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool is_possible = false;
#else
constexpr bool is_possible = true;
#endif

#if defined(__s390__)
constexpr unsigned flags_of_clone = 1;  // its first two arguments are the other way round there
#else
constexpr unsigned flags_of_clone = 0;
#endif

// By name: what this architecture does not have is left out.
constexpr std::array refused{
    "execve",
    "execveat",
    "fork",
    "vfork",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "kcmp",
    "pidfd_getfd",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "setns",
    "unshare",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsmount",
    "open_by_handle_at",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "quotactl",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "sethostname",
    "setdomainname",
    "iopl",
    "ioperm",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "add_key",
    "request_key",
    "keyctl",
    "personality",
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setfsuid",
    "setfsgid",
    "setgroups",
    "capset",
};

struct filter_end {
    void operator()(void* filter) const { seccomp_release(filter); }
};
using filter = std::unique_ptr<void, filter_end>;

class rules {
public:
    rules() : filter_(seccomp_init(SCMP_ACT_ALLOW)) {}

    template <class... Conditions>
    void refuse(const char* name, int error, Conditions... conditions) {
        const int number = seccomp_syscall_resolve_name(name);
        if (!filter_ || number == __NR_SCMP_ERROR) return;
        const int failed = seccomp_rule_add(filter_.get(),
                                            SCMP_ACT_ERRNO(static_cast<unsigned>(error)),
                                            number,
                                            sizeof...(conditions),
                                            conditions...);
        if (failed != 0) failed_ = -failed;
    }
    // 0, or an errno.
    int load() {
        if (!filter_) return ENOMEM;
        if (failed_ != 0) return failed_;
        if (const int failed = seccomp_attr_set(filter_.get(), SCMP_FLTATR_CTL_TSYNC, 1)) {
            return -failed;
        }
        return -seccomp_load(filter_.get());
    }

private:
    filter filter_;
    int failed_ = 0;
};

scmp_arg_cmp has(unsigned argument, scmp_datum_t bits) {
    return {argument, SCMP_CMP_MASKED_EQ, bits, bits};
}

scmp_arg_cmp lacks(unsigned argument, scmp_datum_t bits) {
    return {argument, SCMP_CMP_MASKED_EQ, bits, 0};
}

}  // namespace

void enter_sandbox() {
    if (!is_possible) return;
    constexpr scmp_datum_t write_and_execute = PROT_WRITE | PROT_EXEC;
    rules all;
    for (const char* const name : refused) all.refuse(name, EPERM);
    // Threads, but no processes. The flags of clone3 are in memory, where no filter looks: the C
    // library goes on with clone when the kernel knows no clone3.
    all.refuse("clone", EPERM, lacks(flags_of_clone, CLONE_THREAD));
    all.refuse("clone3", ENOSYS);
    // Libraries may still be loaded: their code is mapped, and never written.
    all.refuse("mmap", EPERM, has(2, write_and_execute));
    all.refuse("mprotect", EPERM, has(2, PROT_EXEC));
    all.refuse("pkey_mprotect", EPERM, has(2, PROT_EXEC));
    if (const int error = all.load(); error != 0) {
        log::say(log_level::warning,
                 "no sandbox: the system calls that are not needed stay possible",
                 {{"why", std::generic_category().message(error)}});
    }
}

}  // namespace callforward::milter
