/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_SESSIONS_CGROUP_H
#define LOCKDOWN_SESSIONS_CGROUP_H

/* Control groups below a cgroup2 mount, those of users for one. No logind here, only the file system. */

#include "idset.h"
#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where cgroup2 is mounted according to MOUNTS (a file like /proc/self/mounts); on hybrid machines that is
 * /sys/fs/cgroup/unified. The caller frees. -ENOENT: nowhere. */
int cgroup_find_root(const char *mounts, char **ret);
/* Ids of ROOT/user.slice/user-UID.slice for UIDS (BELOW: and of all control groups inside them), sorted. The
 * caller frees. 0 and none if there is no user.slice. */
int cgroup_user_slices(const char *root, const struct idset *uids, bool below, uint64_t **ret, size_t *ret_n);
/* Processes in ROOT/user.slice/user-UID.slice/session-ID.scope and the control groups inside it. The caller
 * frees. 0 and none if there is no such scope. */
int cgroup_session_pids(const char *root, uint32_t uid, const char *id, uint64_t **ret, size_t *ret_n);
/* "user-1000.slice" → 1000. */
bool cgroup_parse_slice(const char *name, uint32_t *ret_uid);

/* The id of the control group whose directory FD is, as nftables and sock_diag give it. */
int cgroup_id_of(int fd, uint64_t *ret);
int cgroup_open_child(int at, const char *name); /* -1 with errno; symbolic links are not followed */
/* A listing of the directory FD, which is taken over also on failure (NULL with errno; that of a failed open
 * stays). */
DIR *cgroup_open_listing(int fd);
bool cgroup_may_be_directory(const struct dirent *e);

struct cgroup_ids {
        uint64_t *items; /* the owner frees */
        size_t n, capacity;
};
/* Adds the control group FD (taken over) and, if BELOW, all inside it. One that goes away meanwhile is not an
 * error. Returns 0 or -ENOMEM. */
int cgroup_add_tree(int fd, bool below, struct cgroup_ids *ids);
void cgroup_ids_sort(struct cgroup_ids *ids);

#endif
