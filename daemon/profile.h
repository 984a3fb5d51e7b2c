/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_PROFILE_H
#define LOCKDOWN_PROFILE_H

/* A profile: whom an order blocks and where they may still go, as configured, requested ad hoc, or kept with
 * an order. An order carries its own copy, so that it never depends on the configuration being readable.
 * Pure. */

#include "destinations.h"
#include "words.h"
#include <jansson.h>
#include <stdint.h>

struct profile {
        char *name;
        char *description; /* may be NULL */
        struct words groups, users, except_users, except_groups;
        bool everyone, include_root;
        struct words allow;               /* as written; empty means internal */
        char *dns;                        /* as written, NULL for the default (deny) */
        struct words loopback_deny;       /* as written; the default list unless given */
        struct destinations destinations; /* parsed from the three above by profile_finish() */
        bool forward_deny;
        bool sessions;
        struct words services;                   /* units held to the same destinations; as written */
        bool end_remote_sessions;                /* RemoteSessions=end, or keep (false, default) */
        bool second_lock;                        /* SecondLock=auto (true, default) or no */
        uint64_t default_duration, max_duration; /* microseconds; 0: none */
        char *file;                              /* where its section begins; NULL for ad-hoc ones */
        unsigned line;
        struct words places; /* keys that are no lists ("DNS", "Everyone"), each where it was set last */
};

#define PROFILE_NAME_MAX 48

/* Letters, digits, '_', '-', '.', beginning with a letter or digit, at most PROFILE_NAME_MAX bytes: valid in
 * an nft table name behind "lockdown-" and in a systemd instance name. */
bool profile_name_valid(const char *name);

/* A new profile with every default set (LoopbackDeny=3128 8118 9050, SecondLock=auto). NULL when out of
 * memory. */
struct profile *profile_new(const char *name);
/* Parses allow, dns and loopback_deny into destinations and checks the whole (somebody to block, durations
 * that agree: DefaultDuration at most MaxDuration, IncludeRoot only with root in Users, no Groups or Users
 * together with Everyone). Adds a sentence per mistake. Returns 0, -EINVAL, -ENOMEM. */
int profile_finish(struct profile *p, struct problems *problems);

/* Only the destinations: what allow, dns and loopback_deny say. Adds a sentence per mistake; RET then holds
 * what the other words say. The caller clears RET. Returns 0 or -ENOMEM, RET untouched. */
int profile_parse_destinations(const struct profile *p, struct destinations *ret, struct problems *problems);

/* Is LoopbackDeny= what it is where nobody wrote one? Then the first word written would replace it. */
bool profile_loopback_deny_default(const struct profile *p);

/* Same people and same destinations, by configuration (not by membership); names, files, durations aside. */
bool profile_same_block(const struct profile *a, const struct profile *b);
/* Remembers that KEY, which is no list, was set at this line. Returns 0 or -ENOMEM. */
int profile_set_place(struct profile *p, const char *key, const char *file, unsigned line);
/* Where it was set; NULL where it was not, or nobody knows. */
const struct word *profile_place(const struct profile *p, const char *key);
struct profile *profile_copy(const struct profile *p); /* NULL when out of memory */
struct profile *profile_free(struct profile *p);       /* returns NULL */

/* JSON with the configuration's key names ("Groups": ["staff"], "DNS": "deny", …), for saved orders and
 * `lockdownctl profiles --json`. Destinations that do not follow from the words (read back from the kernel)
 * are written as words that mean the same. NULL when out of memory. */
json_t *profile_to_json(const struct profile *p);
/* Reads it back and finishes it. -EBADMSG with a sentence in PROBLEMS. RET untouched on failure. */
int profile_from_json(const json_t *j, struct profile **ret, struct problems *problems);

DEFINE_CLEANUP(struct profile *, profile_free)

#endif
