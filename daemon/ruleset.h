/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_RULESET_H
#define LOCKDOWN_RULESET_H

/* The table of a lockdown as data: what the kernel is to hold, decided without touching it. Pure. Two writers
 * exist: ruleset_write_text() in nft(8)'s syntax, and nft.c for the kernel; both walk the same structures. */

#include "destinations.h"
#include "subjects.h"
#include "words.h"
#include <stdio.h>

#define TABLE_PREFIX "lockdown-"
/* By which the rules know a datagram of a trial (trial.h): UDP to the discard port, with a mark that takes a
 * capability to set. */
#define TRIAL_MARK 4301
#define TRIAL_PORT 9
/* Entries an attempts set holds at the most; beyond it only the totals count. */
#define ATTEMPTS_MAX 65536

/* The control group of a unit that is held to the same destinations (Services=). */
struct ruleset_unit {
        uint64_t id;
        unsigned level; /* as `socket cgroupv2 level` counts; at most RULESET_LEVEL_MAX */
};
#define RULESET_LEVEL_MAX 255

struct ruleset_spec {
        const char *name; /* of the profile; the table is TABLE_PREFIX + name */
        const struct subjects *subjects;
        const struct destinations *destinations;
        uint16_t relay_port; /* where the relay of DNS=ADDRESS listens on the loopback; 0: there is none */
        bool forward_deny;
        bool frames;                     /* also judge what packet sockets write, in a table of its own */
        bool reset_established;          /* nobody severs: what was open must be told, too, or it hangs */
        const uint64_t *session_cgroups; /* cgroup2 ids of the members' user-UID.slice (subjects->sessions) */
        size_t n_session_cgroups;
        bool units; /* there is Services=, whether or not any of them has a control group now */
        const struct ruleset_unit *unit_cgroups;
        size_t n_unit_cgroups;
};

struct ruleset; /* opaque outside ruleset*.c and nft*.c: see ruleset-internal.h */

/* Builds the whole table. The spec is only read, nothing of it is kept. Returns 0 or -ENOMEM. */
int ruleset_build(const struct ruleset_spec *spec, struct ruleset **ret);
const char *ruleset_table(const struct ruleset *r); /* "lockdown-NAME", owned by R */
/* The id of the order (32 hex digits) that engages R: it is written into the table with the hooks, so that a
 * table found in force can be told from one whose order has ended. Kept with R. */
void ruleset_set_order(struct ruleset *r, const char *id);
/* Is what differs between the two only set elements that fit into A's sets, and the rules of chains that both
 * have (so that nft_update() will do)? */
bool ruleset_same_structure(const struct ruleset *a, const struct ruleset *b);
/* What the kernel holds was compared with R, whole, since it was written. In an owned table nobody else can
 * have changed a set since then, so nft_verify() leaves out the large ones. */
void ruleset_set_compared(struct ruleset *r, bool compared);
bool ruleset_is_compared(const struct ruleset *r);
/* How many elements its sets of people have. */
size_t ruleset_n_members(const struct ruleset *r);
/* After an update from OLD to R: the sets in the kernel keep the sizes they were made with. */
void ruleset_keep_sizes(struct ruleset *r, const struct ruleset *old);
bool ruleset_equal(const struct ruleset *a, const struct ruleset *b);
/* nft(8) syntax, loadable with `nft -f` (base chains included if ENGAGED; those for frames at DEVICES).
 * Returns 0 or -errno of the stream. */
int ruleset_write_text(const struct ruleset *r, bool engaged, const struct words *devices, FILE *f);
struct ruleset *ruleset_free(struct ruleset *r); /* returns NULL */

DEFINE_CLEANUP(struct ruleset *, ruleset_free)

#endif
