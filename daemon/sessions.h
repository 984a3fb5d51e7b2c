/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_SESSIONS_H
#define LOCKDOWN_SESSIONS_H

/* The one edge to logind: who is logged in, told when that changes, and the control groups of their sessions.
 * A machine without logind has no sessions; that is no error. */

#include "cleanup.h"
#include "idset.h"
#include <systemd/sd-event.h>

struct sessions;

typedef void (*sessions_changed_t)(void *userdata);
/* CALLBACK (through the event loop) when a user logs in or out for the first or last time. Where logind is
 * not running yet, it is noticed when it appears. CGROUP_ROOT: where cgroup2 is mounted; NULL: found from
 * /proc/mounts. */
int sessions_new(sd_event *event, const char *cgroup_root, sessions_changed_t callback, void *userdata,
                 struct sessions **ret);
struct sessions *sessions_free(struct sessions *s); /* returns NULL */

/* Uids logind knows, sorted. The caller frees. 0 and none where there is no logind. */
int sessions_uids(struct sessions *s, uint32_t **ret, size_t *ret_n);
/* cgroup2 ids of user.slice/user-UID.slice for those of UIDS that have one now. The caller frees. */
int sessions_cgroups(struct sessions *s, const struct idset *uids, uint64_t **ret, size_t *ret_n);
/* Depth of these control groups below the root as `socket cgroupv2 level` counts it. */
#define SESSION_CGROUP_LEVEL 2

DEFINE_CLEANUP(struct sessions *, sessions_free)

#endif
