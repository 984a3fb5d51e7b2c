// SPDX-License-Identifier: GPL-2.0-or-later
#include "cleanup.h"
#include "worker.h"
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY 65534

/* The address sanitizer reserves terabytes of address space, and looks at a process from another one. */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#if !defined(SANITIZED) && defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* The daemon's own score is low and would be inherited: a directory module that eats up all memory must not
 * be the last to go. While it is root's: afterwards the file is not ours any more. */
static void set_oom_score(int score)
{
        _cleanup_fclose_ FILE *f = fopen("/proc/self/oom_score_adj", "we");

        if (f)
                fprintf(f, "%d\n", score);
}

static int drop_ids(void)
{
        if (geteuid() != 0)
                return 0;
        /* Before the ids: needs a capability, which the unit does not give. Only a second line behind
         * no_new_privs, so no matter if it fails. */
        for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
                (void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
        if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
            setresuid(NOBODY, NOBODY, NOBODY) < 0)
                return -errno;
        return 0;
}

/* libcap would be another library for these two calls. */
static int drop_capabilities(void)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

        (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        if (syscall(SYS_capset, &header, none) < 0)
                return -errno;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
        return 0;
}

static int limit(__rlimit_resource_t resource, uint64_t most)
{
        struct rlimit l;

        if (getrlimit(resource, &l) < 0)
                return -errno;
        if (l.rlim_max > most)
                l.rlim_max = most;
        if (l.rlim_cur > l.rlim_max)
                l.rlim_cur = l.rlim_max;
        return setrlimit(resource, &l) < 0 ? -errno : 0;
}

static int set_limits(const struct worker_limits *limits)
{
        const struct {
                __rlimit_resource_t resource;
                uint64_t most;
                bool wanted;
        } all[] = {
                {RLIMIT_CORE, 0, true},
                {RLIMIT_FSIZE, 0, true}, /* it has nothing to write */
                {RLIMIT_NOFILE, limits->files, true},
                {RLIMIT_CPU, limits->processor, limits->processor > 0},
                {RLIMIT_AS, limits->memory, !SANITIZED},
        };

        for (size_t i = 0; i < ELEMENTSOF(all); i++) {
                int r = all[i].wanted ? limit(all[i].resource, all[i].most) : 0;

                if (r < 0)
                        return r;
        }
        return 0;
}

int worker_confine(const struct worker_limits *limits)
{
        int r;

        set_oom_score(limits->oom_score);
        if ((r = drop_ids()) < 0 || (r = drop_capabilities()) < 0 || (r = set_limits(limits)) < 0)
                return r;
        /* After the ids, whose change clears it. A daemon that died before shows as the end of the socket. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
                return -errno;
        /* A server that hangs up is no reason to die, nor is a file that may not grow. */
        if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
                return -errno;
        if (SANITIZED)
                return 0;
        /* Others that run as nobody cannot look into it. */
        if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
                return -errno;
        return worker_filter_calls();
}
