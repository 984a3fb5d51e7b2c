// SPDX-License-Identifier: GPL-2.0-or-later
#include "own.h"
#include "cleanup.h"
#include <errno.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static bool is_own_user(uid_t uid)
{
        _cleanup_fclose_ FILE *f = fopen("/etc/passwd", "re");
        const struct passwd *p = NULL;

        while (f && (p = fgetpwent(f)) && strcmp(p->pw_name, OWN_USER) != 0)
                ;
        return p && p->pw_uid == uid;
}

bool own_uid(uid_t uid)
{
        return uid == geteuid() || (geteuid() == 0 && is_own_user(uid));
}

int own_give_away(int fd, int directory)
{
        struct stat st;

        if (geteuid() != 0)
                return 0;
        if (fstat(directory, &st) < 0)
                return -errno;
        return st.st_uid != 0 && fchown(fd, st.st_uid, st.st_gid) < 0 ? -errno : 0;
}

/* libcap would be another library for this call. */
bool own_capability(unsigned capability)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

        return syscall(SYS_capget, &header, data) == 0 &&
               (data[capability / 32].effective & UINT32_C(1) << capability % 32);
}
