// SPDX-License-Identifier: GPL-2.0-or-later
/* What the workers may not do, whoever's code runs in them. A list of what is refused, not of what is
 * allowed: nobody knows what all directory modules call, and one that is refused too much would lose people.
 * systemd's SystemCallFilter= stands before it where there is systemd. libseccomp would be another library
 * for a page of comparisons. */
#include "cleanup.h"
#include "worker.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__i386__)
#define ARCHITECTURE AUDIT_ARCH_I386
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined(__arm__)
#define ARCHITECTURE AUDIT_ARCH_ARM
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCHITECTURE AUDIT_ARCH_RISCV64
#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCHITECTURE AUDIT_ARCH_PPC64LE
#elif defined(__s390x__)
#define ARCHITECTURE AUDIT_ARCH_S390X
#endif

#ifdef __s390x__
#define CLONE_FLAGS 1
#else
#define CLONE_FLAGS 0
#endif
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define LOW_HALF 4
#else
#define LOW_HALF 0
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define LOAD_ARGUMENT(i)                   \
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, \
                 offsetof(struct seccomp_data, args) + (i) * sizeof(uint64_t) + LOW_HALF)
#define ANSWER(what) BPF_STMT(BPF_RET | BPF_K, what)
#define REFUSE(error) ANSWER(SECCOMP_RET_ERRNO | (error))
#define ALLOW ANSWER(SECCOMP_RET_ALLOW)
/* The next one if it is equal, or has one of the bits; else that is left out. */
#define IF(value) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1)
#define IF_ANY(bits) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1)
/* What follows, N of them, is for this call alone. They end with an answer: the number is gone by then. */
#define FOR_CALL(call, n) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, n)
#define NEVER(call) IF(call), REFUSE(EPERM)

#define FILTER_MAX 160

#ifdef ARCHITECTURE

/* Numbers, and threads but no processes. */
static const struct sock_filter beginning[] = {
        /* Numbers mean something else for another architecture's calls. */
        LOAD(arch),
        IF(ARCHITECTURE),
        BPF_STMT(BPF_JMP | BPF_JA, 1),
        ANSWER(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
#ifdef __x86_64__
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, UINT32_C(0x40000000), 0, 1), /* the x32 ones */
        REFUSE(ENOSYS),
#endif
        /* Threads, but no processes: what it starts would outlive it. */
        FOR_CALL(SYS_clone, 4),
        LOAD_ARGUMENT(CLONE_FLAGS),
        IF_ANY(CLONE_THREAD),
        ALLOW,
        REFUSE(EPERM),
        IF(SYS_clone3), /* its flags cannot be seen from here: the C library takes clone then */
        REFUSE(ENOSYS),
#ifdef SYS_fork
        NEVER(SYS_fork),
        NEVER(SYS_vfork),
#endif
        NEVER(SYS_execve),
        NEVER(SYS_execveat),
};

static const struct sock_filter other_processes[] = {
        NEVER(SYS_tkill),
        NEVER(SYS_rt_sigqueueinfo),
        NEVER(SYS_rt_tgsigqueueinfo),
        NEVER(SYS_pidfd_send_signal),
        /* … nor anything else to them. */
        NEVER(SYS_pidfd_open),
        NEVER(SYS_pidfd_getfd),
        NEVER(SYS_ptrace),
        NEVER(SYS_process_vm_readv),
        NEVER(SYS_process_vm_writev),
        NEVER(SYS_process_madvise),
        NEVER(SYS_kcmp),
        /* The end comes with the daemon's. */
        FOR_CALL(SYS_prctl, 6),
        LOAD_ARGUMENT(0),
        IF(PR_SET_PDEATHSIG),
        REFUSE(EPERM),
        IF(PR_SET_DUMPABLE),
        REFUSE(EPERM),
        ALLOW,
};

static const struct sock_filter sockets[] = {
        /* What a directory is spoken to by. No netlink but what the C library asks for addresses. */
        FOR_CALL(SYS_socket, 12),
        LOAD_ARGUMENT(0),
        IF(AF_UNIX),
        ALLOW,
        IF(AF_INET),
        ALLOW,
        IF(AF_INET6),
        ALLOW,
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 3),
        LOAD_ARGUMENT(2),
        IF(0), /* NETLINK_ROUTE */
        ALLOW,
        REFUSE(EAFNOSUPPORT),
};

static const struct sock_filter the_rest[] = {
        /* Parts of the kernel that are large, and of no use here. */
        NEVER(SYS_unshare),     NEVER(SYS_setns),
        NEVER(SYS_bpf),         NEVER(SYS_perf_event_open),
        NEVER(SYS_userfaultfd), NEVER(SYS_io_uring_setup),
        NEVER(SYS_add_key),     NEVER(SYS_request_key),
        NEVER(SYS_keyctl),      ALLOW,
};

/* The parts follow each other: no jump leads out of one. */
struct filter {
        struct sock_filter items[FILTER_MAX];
        unsigned short n;
};

static void put(struct filter *f, const struct sock_filter *part, size_t n)
{
        memcpy(f->items + f->n, part, n * sizeof(*part));
        f->n = (unsigned short)(f->n + n);
}

static int install(struct filter *f)
{
        const struct sock_fprog program = {.len = f->n, .filter = f->items};

        return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 && errno != EINVAL ? -errno : 0;
}

int worker_filter_calls(void)
{
        const uint32_t self = (uint32_t)getpid();
        const struct sock_filter by_process[] = {
                /* Signals to itself (abort() sends one), but not to the others that run as nobody. */
                FOR_CALL(SYS_kill, 4),
                LOAD_ARGUMENT(0),
                IF(self),
                ALLOW,
                REFUSE(EPERM),
                FOR_CALL(SYS_tgkill, 4),
                LOAD_ARGUMENT(0),
                IF(self),
                ALLOW,
                REFUSE(EPERM),
                /* Limits are set without a signal; one of processor time ends whoever it is of. */
                FOR_CALL(SYS_prlimit64, 6),
                LOAD_ARGUMENT(0),
                IF(0),
                ALLOW,
                IF(self),
                ALLOW,
                REFUSE(EPERM),
        };
        struct filter f = {.n = 0};

        _Static_assert(ELEMENTSOF(beginning) + ELEMENTSOF(by_process) + ELEMENTSOF(other_processes) +
                                       ELEMENTSOF(sockets) + ELEMENTSOF(the_rest) <=
                               FILTER_MAX,
                       "room for all parts");
        put(&f, beginning, ELEMENTSOF(beginning));
        put(&f, by_process, ELEMENTSOF(by_process));
        put(&f, other_processes, ELEMENTSOF(other_processes));
        put(&f, sockets, ELEMENTSOF(sockets));
        put(&f, the_rest, ELEMENTSOF(the_rest));
        return install(&f);
}

#else

int worker_filter_calls(void)
{
        return 0;
}

#endif
