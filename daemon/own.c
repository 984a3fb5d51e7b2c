// SPDX-License-Identifier: GPL-2.0-or-later
#include "own.h"
#include "cleanup.h"
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define DROP_IN "/run/systemd/system/lockdownd.service.d/50-user.conf"

static bool find_own_user(uid_t *ret_uid, gid_t *ret_gid)
{
        _cleanup_fclose_ FILE *f = fopen("/etc/passwd", "re");
        const struct passwd *p = NULL;

        while (f && (p = fgetpwent(f)) && strcmp(p->pw_name, OWN_USER) != 0)
                ;
        if (!p)
                return false;
        *ret_uid = p->pw_uid;
        *ret_gid = p->pw_gid;
        return true;
}

static bool is_own_user(uid_t uid)
{
        uid_t own;
        gid_t group;

        return find_own_user(&own, &group) && own == uid;
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

/* Supplementary groups, as systemd sets them for the daemon. */
static size_t find_own_groups(gid_t *groups, size_t most)
{
        _cleanup_fclose_ FILE *f = fopen("/etc/group", "re");
        const struct group *g = NULL;
        size_t n = 0;

        while (f && n < most && (g = fgetgrent(f)))
                for (char **member = g->gr_mem; *member; member++)
                        if (strcmp(*member, OWN_USER) == 0) {
                                groups[n++] = g->gr_gid;
                                break;
                        }
        return n;
}

/* What lockdownd-user has put there. */
static bool daemon_is_root(void)
{
        _cleanup_fclose_ FILE *f = fopen(DROP_IN, "re");
        char line[256];

        while (f && fgets(line, sizeof(line), f))
                if (strcmp(line, "User=root\n") == 0)
                        return true;
        return false;
}

bool own_act_as_user(struct own_rights *before)
{
        gid_t groups[64], group;
        uid_t user;

        if (geteuid() != 0 || !find_own_user(&user, &group) || daemon_is_root())
                return false;
        before->group = getegid();
        before->n_groups = getgroups(ELEMENTSOF(before->groups), before->groups);
        if (before->n_groups < 0)
                return false;
        if (setgroups(find_own_groups(groups, ELEMENTSOF(groups)), groups) == 0 && setegid(group) == 0 &&
            seteuid(user) == 0)
                return true;
        own_act_as_root(before);
        return false;
}

void own_act_as_root(const struct own_rights *before)
{
        (void)!seteuid(0);
        (void)!setegid(before->group);
        (void)setgroups((size_t)before->n_groups, before->groups);
}

/* libcap would be another library for this call. */
bool own_capability(unsigned capability)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

        return syscall(SYS_capget, &header, data) == 0 &&
               (data[capability / 32].effective & UINT32_C(1) << capability % 32);
}
