/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_SUBJECTS_H
#define LOCKDOWN_SUBJECTS_H

/* The people an order blocks, as the kernel sees them. Pure; no I/O beyond the given FILE. */

#include "idset.h"
#include "words.h"
#include <stdint.h>
#include <stdio.h>

struct subjects {
        bool everyone;            /* the match is inverted: everybody but uid 0 and the excepted */
        struct idset uids;        /* members (and Users=), exact */
        struct idset uid_ranges;  /* their subordinate uids */
        struct idset gids;        /* the groups themselves */
        struct idset gid_ranges;  /* subordinate gids */
        struct idset except_uids; /* ExceptUsers= and members of ExceptGroups= */
        struct idset except_gids; /* the ExceptGroups= themselves (used only with everyone) */
        bool sessions;            /* match the members' login sessions (user-UID.slice), too */
};

/* What the resolver found out about one list of groups and users. */
struct membership {
        struct subjects subjects; /* everyone and sessions are left false: they are the profile's to say */
        struct words missing_groups, missing_users; /* the databases say: no such name */
        struct words unresolved;                    /* names the directory did not answer for (may exist) */
        struct words empty_groups;                  /* groups without a single member */
        uint64_t as_of;                             /* wall-clock microseconds when it was resolved */
};

/* Removes uid 0 from uids and uid_ranges unless INCLUDE_ROOT, and the excepted uids from uids. Returns
 * 0/-ENOMEM. */
int subjects_finish(struct subjects *s, bool include_root);

/* Leaves of the uids and their subordinate ranges those that concern one of IDS, and no subordinate gids. 0
 * or -ENOMEM: S is unchanged. */
int subjects_keep(struct subjects *s, const struct idset *ids);

/* Is a socket of this uid judged by the order (gid and session unknown)? */
bool subjects_match_uid(const struct subjects *s, uint32_t uid);
/* The same for uid and primary gid of the socket's creator, as the ruleset asks it. */
bool subjects_match(const struct subjects *s, uint32_t uid, uint32_t gid);
bool subjects_equal(const struct subjects *a, const struct subjects *b);
bool subjects_empty(const struct subjects *s); /* nobody at all: not everyone, no uid, no gid */
int subjects_copy(const struct subjects *from, struct subjects *ret);
void subjects_clear(struct subjects *s);

/* The text form, kept in the state directory and spoken by the resolver process:
 *   lockdown-members 1 / as-of USEC / uid A[-B] / gid … / subuid … / subgid … / except-uid … / except-gid …
 *   / missing-group NAME / missing-user NAME / unresolved NAME / empty-group NAME / end
 * Names are written with %XX for spaces, control characters and '%'. Returns 0 or -errno of the stream.
 * Everywhere below, what RET holds is replaced: it must be zeroed or valid. */
int membership_write(const struct membership *m, FILE *f);
/* Reads it back. -EBADMSG when it is damaged or cut short (no "end"), -ENOMEM; RET untouched on failure. */
int membership_parse(const char *text, size_t size, struct membership *ret);
/* Something that was asked for is not in it. A group that was there and is not any more may just be a
 * directory that is not up: when in doubt, whoever was covered stays covered. */
bool membership_degraded(const struct membership *m);
/* Everything either knows (uids, gids, ranges, excepted only where both agree); lists of names from NEWER. */
int membership_union(const struct membership *older, const struct membership *newer, struct membership *ret);
int membership_copy(const struct membership *from, struct membership *ret);
void membership_clear(struct membership *m);

#define _cleanup_subjects_ _cleanup_(subjects_clear)
#define _cleanup_membership_ _cleanup_(membership_clear)

#endif
