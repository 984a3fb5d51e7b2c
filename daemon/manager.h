/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_MANAGER_H
#define LOCKDOWN_MANAGER_H

/* The heart of the daemon: what is staged, what is in force, and the operations on it. The only module that
 * connects the edges (kernel, sockets, directory, disk, journal) with the pure ones. Single-threaded, driven
 * by an event loop. */

#include "access.h"
#include "launcher.h"
#include "notifier.h"
#include "order.h"
#include "profile.h"
#include <jansson.h>
#include <systemd/sd-event.h>

struct manager;

struct manager_paths {
        const char *configuration; /* directories */
        const char *state;
        const char *runtime;
        struct launcher *launcher; /* borrowed; starts the processes that the daemon needs */
        int kept_socket;           /* manager_socket() of an earlier daemon, taken over; or -1 */
        struct notifier *notifier; /* borrowed; the service manager is told the status; may be NULL */
};

/* Opens every edge. Returns 0 or -errno with a sentence (the caller frees) that says what is wrong and what
 * to do. */
int manager_new(sd_event *event, const struct manager_paths *paths, struct manager **ret, char **ret_error);
/* Brings the saved orders into force, takes over what an earlier daemon left, and begins to stage the
 * profiles. The block stands when this returns. 0 or -errno with a sentence. */
int manager_start(struct manager *m, char **ret_error);
/* Is there an order whose list of people is lost, and the directory has not answered yet? Then it holds
 * nobody but whom the kernel holds anyway. */
bool manager_lacks_people(const struct manager *m);
/* The socket that owns the tables: whoever keeps it open keeps others from them. It stays M's. */
int manager_socket(const struct manager *m);
/* Removes what is merely staged; what is in force stays in the kernel. Returns NULL. */
struct manager *manager_free(struct manager *m);
DEFINE_CLEANUP(struct manager *, manager_free)

/* How an operation ended. */
struct outcome {
        const char *error; /* one of protocol.h's ERROR_…, or NULL */
        char *message;     /* with error: one sentence */
        json_t *reply;     /* without error: the document, or */
        const char *text;  /* … the document as JSON text, where it would be large otherwise */
};
/* Called exactly once per operation, perhaps before the call that began it returns. The outcome is the
 * manager's. */
typedef void (*manager_done_t)(void *userdata, const struct outcome *outcome);

struct order_request {
        const char *profile; /* NULL for an ad-hoc order */
        struct profile
                *adhoc; /* taken over; finished (profile_finish()); its name may be "" (one is chosen) */
        struct order_time time;
        uint64_t confirm_within; /* microseconds; 0: needs no confirmation */
        const char *reason;      /* may be NULL */
        bool dry_run;
        bool yes; /* also if the caller cuts off his own way in */
};
void manager_order(struct manager *m, const struct order_request *request, const struct caller *caller,
                   manager_done_t done, void *userdata);
/* PROFILE NULL: all that is in force. */
void manager_lift(struct manager *m, const char *profile, const char *reason, const struct caller *caller,
                  manager_done_t done, void *userdata);
void manager_extend(struct manager *m, const char *profile, const struct order_time *time,
                    const struct caller *caller, manager_done_t done, void *userdata);
void manager_confirm(struct manager *m, const char *profile, const struct caller *caller, manager_done_t done,
                     void *userdata);
/* PROFILE "" or NULL: all that is in force. */
void manager_verify(struct manager *m, const char *profile, manager_done_t done, void *userdata);
/* PROFILE "" or NULL: all. NAMES: with the people covered, by name. */
void manager_status(struct manager *m, const char *profile, bool names, manager_done_t done, void *userdata);
void manager_profiles(struct manager *m, manager_done_t done, void *userdata);
void manager_history(struct manager *m, manager_done_t done, void *userdata);
void manager_attempts(struct manager *m, const char *profile, manager_done_t done, void *userdata);
void manager_explain(struct manager *m, const char *user, const char *destination, manager_done_t done,
                     void *userdata);
void manager_reload(struct manager *m, const struct caller *caller, manager_done_t done, void *userdata);

bool manager_permits(const struct manager *m, enum right right, const struct peer *peer);
/* Has the directory not said yet, since the start, whom RIGHT is given to? Then whoever is not permitted may
 * be later. */
bool manager_right_unknown(const struct manager *m, enum right right);
/* Told when the directory has said so, or that it cannot: once for each right. */
typedef void (*manager_right_known_t)(void *userdata);
void manager_on_right_known(struct manager *m, manager_right_known_t callback, void *userdata);

/* Told when an order begins ("active"), is extended ("extended"), is
 * confirmed ("confirmed") or ends ("lifted", "expired"). */
typedef void (*manager_changed_t)(void *userdata, const char *profile, const char *state);
void manager_on_change(struct manager *m, manager_changed_t callback, void *userdata);

#endif
