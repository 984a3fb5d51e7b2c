/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_REPORT_H
#define LOCKDOWN_REPORT_H

/* The JSON documents the daemon answers with (lockdownctl(1), "JSON"). Each function returns a new document,
 * or NULL when out of memory; nothing is changed. */

#include "manager-internal.h"

/* Names of uids as the directory gave them; sorted by uid. */
struct names {
        const uint32_t *uids;
        char *const *names; /* NULL where there is none */
        size_t n;
};
const char *names_find(const struct names *names, uint32_t uid); /* NAMES may be NULL */

/* One order. L: where it is in force, NULL for a finished one. NAMES: list the people covered, or NULL. */
json_t *report_order(struct lockdown *l, const struct order *o, const struct names *names);
/* What the operator should know about L: empty groups, stale membership, not saved, not as it should be. */
json_t *report_warnings(const struct lockdown *l);
/* … and about the daemon itself. */
json_t *report_daemon_warnings(const struct manager *m);
/* DOORS: what was seen for all orders; may be NULL. */
json_t *report_status(struct manager *m, const char *only, const struct names *names,
                      const struct sightings *doors);
/* The keys about doors, into the document of L's order or dry run. 0 or -ENOMEM. NAMES may be NULL. */
int report_doors(json_t *into, const struct lockdown *l, const struct sightings *s,
                 const struct names *names);
/* The other network namespaces, for the orders of STATUS whose second lock is not in force as it should be:
 * is that any, and adding what was FOUND (or why nothing was: ERROR). */
bool report_needs_namespaces(const struct manager *m, const char *only);
void report_add_namespaces(json_t *status, const struct manager *m, const struct namespaces *found, int error,
                           const struct names *names);
json_t *report_profiles(struct manager *m);
/* Written as text, for there may be very many. 0 or -ENOMEM; what F could not take, F says. */
int report_attempts(FILE *f, const char *profile, const char *order_id, const struct attempts *a,
                    const struct names *names);
/* A dry run: RULESET is its text, WOULD what it would put an end to. */
struct would_end {
        uint64_t sockets;
        struct remote_session *sessions;
        size_t n_sessions;
};
json_t *report_dry_run(struct lockdown *l, const struct order *o, const char *ruleset,
                       const struct would_end *would, const struct names *names);
/* USER and TEXT are as the question had them. Whether the destination is on this machine is looked up. */
struct explain_question {
        const char *user, *text;
        struct endpoint destination;
};
json_t *report_explain(struct manager *m, const struct person *p, const struct explain_question *question);

/* KEY (RFC 3339) and KEY_usec. */
int report_time(json_t *into, const char *key, uint64_t usec);

#endif
