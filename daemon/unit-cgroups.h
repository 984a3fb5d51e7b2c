/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_UNIT_CGROUPS_H
#define LOCKDOWN_UNIT_CGROUPS_H

/* The control groups of systemd's units, found by name in the cgroup2 tree and followed as they come and go.
 * systemd itself is not asked: this works when it does not answer, and needs no right to talk to it. */

#include "cleanup.h"
#include "words.h"
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct units;

typedef void (*units_changed_t)(void *userdata);
/* CALLBACK (through the event loop, once for a burst) when a unit comes or goes in a place that was searched
 * before. CGROUP_ROOT: where cgroup2 is mounted; NULL: found from /proc/self/mounts. A machine without
 * cgroup2 has no units; that is no error. Returns 0 or -errno. */
int units_new(sd_event *event, const char *cgroup_root, units_changed_t callback, void *userdata,
              struct units **ret);
struct units *units_free(struct units *u); /* returns NULL */

struct unit_cgroup {
        char *path;     /* below the root: "system.slice/cups.service" */
        uint64_t id;    /* cgroup2's, as `socket cgroupv2` and sock_diag have it */
        unsigned level; /* depth below the root: 2 for that one */
};
struct unit_cgroups {
        struct unit_cgroup *items; /* sorted by id */
        size_t n;
};

/* The units that PATTERNS (unit-patterns.h) mean and that have processes now. RET is replaced. What lies
 * inside a unit (a container's own units) is part of it and not looked into; neither is what users run in
 * theirs (user.slice). From now on changes are told. Returns 0 or -errno, RET untouched. */
int units_find(struct units *u, const struct words *patterns, struct unit_cgroups *ret);
/* The same for control groups by their ids, whatever they are called. */
int units_find_ids(struct units *u, const uint64_t *ids, size_t n, struct unit_cgroups *ret);
/* 0, or -errno why not all changes will be told (of the last search). */
int units_watch_error(const struct units *u);
/* Ids of CGROUPS and of every control group below them, sorted, added to IDS (reallocated; the caller frees):
 * a socket carries the id of the one it was made in. */
int units_ids_below(struct units *u, const struct unit_cgroups *cgroups, uint64_t **ids, size_t *n);
bool unit_cgroups_equal(const struct unit_cgroups *a, const struct unit_cgroups *b);
/* The last part of a path: the unit's name. */
const char *unit_cgroup_name(const struct unit_cgroup *c);
void unit_cgroups_clear(struct unit_cgroups *c);

DEFINE_CLEANUP(struct units *, units_free)
#define _cleanup_unit_cgroups_ _cleanup_(unit_cgroups_clear)

#endif
