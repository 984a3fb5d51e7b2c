/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_SESSIONS_CGROUP_H
#define LOCKDOWN_SESSIONS_CGROUP_H

/* The control groups of users below a cgroup2 mount. No logind here, only the file system. */

#include "idset.h"

/* Where cgroup2 is mounted according to MOUNTS (a file like /proc/self/mounts); on hybrid machines that is
 * /sys/fs/cgroup/unified. The caller frees. -ENOENT: nowhere. */
int cgroup_find_root(const char *mounts, char **ret);
/* Ids of ROOT/user.slice/user-UID.slice for UIDS (BELOW: and of all control groups inside them), sorted. The
 * caller frees. 0 and none if there is no user.slice. */
int cgroup_user_slices(const char *root, const struct idset *uids, bool below, uint64_t **ret, size_t *ret_n);
/* "user-1000.slice" → 1000. */
bool cgroup_parse_slice(const char *name, uint32_t *ret_uid);

#endif
