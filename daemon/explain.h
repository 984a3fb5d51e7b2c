/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_EXPLAIN_H
#define LOCKDOWN_EXPLAIN_H

/* Why an order covers a user, or not, and why it lets a destination through, or not: down to the word of the
 * configuration that decides. The answers are those of the rules; these functions only find the words. Pure.
 */

#include "person.h"
#include "profile.h"
#include "subjects.h"

/* Where a word comes from. */
enum source {
        SOURCE_NONE,     /* no word decides it */
        SOURCE_FILE,     /* FILE and LINE */
        SOURCE_BUILT_IN, /* nobody wrote it: the default */
        SOURCE_ADHOC,    /* the order's own words */
        SOURCE_UNKNOWN,  /* written once, but the line was not kept */
};
const char *source_to_string(enum source s); /* NULL for SOURCE_NONE */

struct because {
        char *sentence;   /* the reason, without the word (the caller frees, because_clear()) */
        const char *key;  /* "Groups", NULL where no word decides it */
        const char *word; /* "staff"; valid as long as the profile is */
        enum source source;
        const char *file; /* SOURCE_FILE only; likewise */
        unsigned line;
};

struct explained_order {
        const struct profile *profile;   /* the order's own */
        const struct subjects *subjects; /* as the rules have them */
        bool adhoc;
};

/* USER is how the question called him. Returns 0 or -ENOMEM; RET_COVERED: his sockets are judged. */
int explain_user(const struct explained_order *o, const struct person *p, const char *user, bool *ret_covered,
                 struct because *ret);
/* E: with LOCAL as the rules would have it. Returns 0 or -ENOMEM. */
int explain_destination(const struct explained_order *o, const struct endpoint *e,
                        enum judgement *ret_judgement, struct because *ret);
/* Where an order sends a question for a resolver instead. */
struct redirection {
        struct endpoint target; /* LOCAL is left out */
        bool relayed;           /* by a process on this machine, for whom other orders take it */
};
/* Where this order sends a question to the resolver port E instead. False: nowhere else. */
bool explain_redirects(const struct profile *p, const struct endpoint *e, struct redirection *ret);
/* The second judgement, about where the order BY sent it. */
int explain_redirected(const struct explained_order *o, const struct redirection *to, const char *by,
                       enum judgement *ret_judgement, struct because *ret);
void because_clear(struct because *b);

#define _cleanup_because_ _cleanup_(because_clear)

#endif
