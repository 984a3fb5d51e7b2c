/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_SESSIONS_H
#define LOCKDOWN_SESSIONS_H

/* The one edge to logind: who is logged in and from where, told when that changes, the control groups of
 * their sessions, and the end of a session. A machine without logind has no sessions; that is no error. */

#include "cleanup.h"
#include "idset.h"
#include <systemd/sd-event.h>

struct sessions;

typedef void (*sessions_changed_t)(void *userdata);
/* CALLBACK (through the event loop) when a user logs in or out for the first or last time, and when a user's
 * control group appears (a moment after the login) or goes. Where logind is not running yet, it is noticed
 * when it appears. CGROUP_ROOT: where cgroup2 is mounted; NULL: found from /proc/self/mounts. Returns 0 or
 * -errno. */
int sessions_new(sd_event *event, const char *cgroup_root, sessions_changed_t callback, void *userdata,
                 struct sessions **ret);
struct sessions *sessions_free(struct sessions *s); /* returns NULL */
/* CALLBACK (likewise) whenever logind has written about a session: one began, changed or ended. */
void sessions_on_session(struct sessions *s, sessions_changed_t callback, void *userdata);

/* Uids logind knows, sorted. The caller frees. 0 and none where there is no logind. */
int sessions_uids(struct sessions *s, uint32_t **ret, size_t *ret_n);
/* cgroup2 ids of user.slice/user-UID.slice for those of UIDS that have one now, sorted. The caller frees. 0
 * and none where cgroup2 is not mounted. */
int sessions_cgroups(struct sessions *s, const struct idset *uids, uint64_t **ret, size_t *ret_n);
/* The ids of those and of every control group below them, sorted: a socket carries the id of the one it was
 * made in (a session's scope, a service of the user), not of the slice. The caller frees. */
int sessions_cgroups_below(struct sessions *s, const struct idset *uids, uint64_t **ret, size_t *ret_n);
/* A session that logind calls remote. */
struct remote_session {
        char *id; /* logind's: "12", "c3" */
        uint32_t uid;
        char *host; /* from where, in the words of whoever let them in: an address, a name; NULL: not told */
};
/* All there are, sorted by id. The caller clears. 0 and none where there is no logind. */
int sessions_remote(struct sessions *s, struct remote_session **ret, size_t *ret_n);
void remote_sessions_free(struct remote_session *list, size_t n);
/* The id of the session a process was started from (the caller frees). -ENODATA: none. */
int sessions_of_process(struct sessions *s, pid_t pid, char **ret_id);
/* Kills what there is of a session: the processes in its scope and their descendants, wherever these are.
 * Does not ask logind, which may hang. *RET_N: how many there were; they are gone a moment later. 0 or
 * -errno; -EOPNOTSUPP: no cgroup2 is mounted, so they cannot be found. */
int sessions_end(struct sessions *s, const struct remote_session *session, size_t *ret_n);

/* Depth of these control groups below the root as `socket cgroupv2 level` counts it. */
#define SESSION_CGROUP_LEVEL 2

DEFINE_CLEANUP(struct sessions *, sessions_free)

#endif
