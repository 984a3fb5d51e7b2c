// SPDX-License-Identifier: GPL-2.0-or-later
#include "worker.h"
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY 65534

/* The address sanitizer reserves terabytes of address space. */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define UNBOUNDED_ADDRESS_SPACE
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define UNBOUNDED_ADDRESS_SPACE
#endif

static int drop_ids(void)
{
        if (geteuid() != 0)
                return 0;
        /* Before the ids: needs a capability. Only a second line behind no_new_privs, so no matter if it
         * fails. */
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

int worker_confine(uint64_t files, uint64_t memory)
{
        int r;

        if ((r = drop_ids()) < 0 || (r = drop_capabilities()) < 0 || (r = limit(RLIMIT_CORE, 0)) < 0 ||
            (r = limit(RLIMIT_NOFILE, files)) < 0)
                return r;
#ifndef UNBOUNDED_ADDRESS_SPACE
        r = limit(RLIMIT_AS, memory);
        if (r < 0)
                return r;
#else
        (void)memory;
#endif
        /* After the ids, whose change clears it. A daemon that died before shows as the end of the socket. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
                return -errno;
        /* A server that hangs up is no reason to die. */
        if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
                return -errno;
        return 0;
}
