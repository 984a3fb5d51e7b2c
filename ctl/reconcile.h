/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_CTL_RECONCILE_H
#define LOCKDOWN_CTL_RECONCILE_H

/* What is to be done so that the units agree with what is in force. Pure; no I/O, no clock. */

#include "cleanup.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum unit_activity {
        UNIT_INACTIVE,
        UNIT_ACTIVE,
        UNIT_FAILED,
        UNIT_CHANGING, /* activating, deactivating, or anything newer: wait */
};
enum unit_activity unit_activity_from_string(const char *active_state);

struct unit {
        char *name;    /* lockdown@….service */
        char *profile; /* what it stands for */
        char *mark;    /* what its mark is called */
        enum unit_activity activity;
        bool job; /* systemd has a job for it */
};
struct units {
        struct unit *items;
        size_t n;
};
/* Appends; -EINVAL if the name is not one of ours. */
int units_add(struct units *u, const char *name, enum unit_activity activity, bool job);
void units_clear(struct units *u);
#define _cleanup_units_ _cleanup_(units_clear)

enum action_kind {
        ACTION_CLEAR_MARK,   /* no job needs it any more */
        ACTION_START,        /* in force, but no unit of it is active */
        ACTION_STOP,         /* active, but not in force */
        ACTION_RESET_FAILED, /* failed because its order ended while follow-units started it */
};
struct action {
        enum action_kind kind;
        char *unit; /* NULL for ACTION_CLEAR_MARK */
        char *mark;
};
struct actions { /* marks to clear come first */
        struct action *items;
        size_t n;
};
void actions_clear(struct actions *a);
#define _cleanup_actions_ _cleanup_(actions_clear)

/* IN_FORCE: names of profiles; MARKS: names of marks that stand. Returns 0, -ENOMEM. */
int reconcile(const json_t *in_force, const struct units *units, const json_t *marks, struct actions *ret);
/* Is something still under way in systemd? Then there will be a reason to look again. */
bool units_busy(const struct units *units);

/* How often the same unit may be tried: three times at once, then more and more seldom. */
struct pace {
        char *unit;
        unsigned tries;
        uint64_t last; /* clock of the caller, microseconds */
};
struct paces {
        struct pace *items;
        size_t n;
};
/* May this unit be acted upon at NOW? 0 now, else microseconds to wait. */
uint64_t paces_wait(const struct paces *p, const char *unit, uint64_t now);
/* Notes that it was. 0 or -ENOMEM. */
int paces_note(struct paces *p, const char *unit, uint64_t now);
/* Forgets the units that neither need an action nor are busy: they have come to rest. */
void paces_forget(struct paces *p, const struct actions *actions, const struct units *units);
void paces_clear(struct paces *p);

#endif
