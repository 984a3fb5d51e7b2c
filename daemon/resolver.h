/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_RESOLVER_H
#define LOCKDOWN_RESOLVER_H

/* Names to ids and back, in a worker process of its own: the daemon never calls NSS. Requests are queued and
 * answered through the event loop: first what an order waits for, then the others, in order. One that is
 * under way then is asked again afterwards. A worker that exceeds the deadline, dies or talks nonsense is
 * killed and replaced, and the request it held fails. Callbacks are never called from within the call that
 * made the request. */

#include "launcher.h"
#include "person.h"
#include "subjects.h"
#include <systemd/sd-event.h>

struct resolver;

/* The first request has LAUNCHER, which stays the caller's, start the worker. */
int resolver_new(sd_event *event, struct launcher *launcher, struct resolver **ret);
struct resolver *
resolver_free(struct resolver *r); /* ends the worker; pending requests are dropped; returns NULL */

struct resolver_query {
        const struct words *groups, *users, *except_groups, *except_users; /* any may be NULL */
        const uint32_t *seen_uids; /* users seen on this machine, to be checked one by one (getgrouplist) */
        size_t n_seen_uids;
        bool awaited; /* by an order or a reload */
};
/* More people than this are not believed: the kernel would be asked to remember each of them. */
#define RESOLVER_PEOPLE_MAX (UINT64_C(1) << 21)
/* ERROR: 0, or -ETIMEDOUT, -EPIPE (the worker died), -EBADMSG, -E2BIG (more than RESOLVER_PEOPLE_MAX),
 * -ENOMEM, or why no worker could be started (-ENOENT, -ECONNREFUSED …). M is valid during the call only; the
 * callback may move it out (leave it zeroed). */
typedef void (*resolver_members_t)(void *userdata, int error, struct membership *m);
/* Copies the query. DEADLINE: microseconds from the moment the worker takes it up. Numeric users ("1000") are
 * taken as uids, numeric groups as gids, also without an entry in the databases. */
int resolver_resolve(struct resolver *r, const struct resolver_query *query, uint64_t deadline,
                     resolver_members_t callback, void *userdata);

/* Why the directory did not answer, in a few words for a person. */
const char *resolver_explain(int error);

/* Names of uids: NAMES[i] for UIDS[i], NULL where there is none; valid during the call only. On an error N is
 * 0. */
typedef void (*resolver_names_t)(void *userdata, int error, const uint32_t *uids, char *const *names,
                                 size_t n);
int resolver_names(struct resolver *r, const uint32_t *uids, size_t n, uint64_t deadline,
                   resolver_names_t callback, void *userdata);

/* One user, by name or uid, with his groups and, for a subordinate uid, its owner. P is valid during the call
 * only; the callback may move it out (leave it zeroed). */
typedef void (*resolver_person_t)(void *userdata, int error, struct person *p);
int resolver_person(struct resolver *r, const char *user, uint64_t deadline, resolver_person_t callback,
                    void *userdata);

/* Drops what USERDATA is still waiting for (its callbacks will not be called). */
void resolver_cancel(struct resolver *r, const void *userdata);

/* The worker itself: serves requests from FD until it is closed; returns the process's exit status. It drops
 * every privilege first. */
int resolver_worker_run(int fd);

DEFINE_CLEANUP(struct resolver *, resolver_free)

#endif
