/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_PERSON_H
#define LOCKDOWN_PERSON_H

/* One user as the directory knows him, with all his groups, and who owns the uid if it is a subordinate one.
 * Pure: the resolver's worker finds it out. */

#include "idset.h"
#include "words.h"
#include <stdint.h>
#include <stdio.h>

struct identity {
        uint32_t uid;
        char *name;               /* NULL: no account has the uid */
        struct idset gids;        /* primary and supplementary */
        struct words group_names; /* of these, as far as they have one */
};

struct person {
        bool found;      /* else SELF says nothing: there is no such user, or … */
        bool unanswered; /* … the directory did not answer */
        struct identity self;
        bool subordinate; /* the uid lies in a subordinate range, and OWNER's it is */
        struct identity owner;
};

/* Does WORD of Users= or Groups= (a name or a number) mean this user, or a group of his? */
bool identity_is(const struct identity *i, const char *word);
bool identity_in_group(const struct identity *i, const char *word);
void identity_clear(struct identity *i);

/* The text form, spoken by the resolver process. Returns 0 or -errno of the stream. */
int person_write(const struct person *p, FILE *f);
/* -EBADMSG, -ENOMEM; RET must be zeroed, and stays so on failure. */
int person_parse(const char *text, size_t size, struct person *ret);
void person_clear(struct person *p);

#define _cleanup_person_ _cleanup_(person_clear)

#endif
