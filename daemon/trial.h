/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_TRIAL_H
#define LOCKDOWN_TRIAL_H

/* An order is tried, not only compared: a datagram in a subject's name towards the outside must be refused by
 * our rules, one towards an allowed network must pass both judgements. Pure: what is tried, and what the
 * outcome means. Neither leaves the machine if the rules are as they should be: they know it by mark and
 * port (ruleset.h), count it apart from the person's attempts, and drop it at the end even where it may
 * pass. Should they fail, it has a hop limit of 1. */

#include "destinations.h"
#include "subjects.h"

struct trial_datagram {
        int family;
        uint8_t addr[16];
        bool outside; /* else in a network of Allow= */
};

/* What can be tried: the first of each kind (family, outside or not) that gets as far as the rules. */
#define TRIAL_KINDS 4
#define TRIAL_CANDIDATES 6
struct trial_plan {
        struct trial_datagram candidates[TRIAL_KINDS][TRIAL_CANDIDATES];
        size_t n[TRIAL_KINDS];
};
/* The outside ones are of the networks for documentation, whom nobody has, as far as D refuses them. */
void trial_choose(const struct destinations *d, struct trial_plan *ret);
/* "an IPv4 address outside" */
const char *trial_kind(size_t kind);

/* As whom: another one each TURN, never root. 0, or -ENOENT: the order covers nobody by a uid. */
int trial_subject(const struct subjects *s, uint64_t turn, uint32_t *ret_uid, uint32_t *ret_gid);

/* What came of one datagram. */
struct trial_outcome {
        int error;                /* errno of sending it, 0: none */
        uint64_t refused, passed; /* counted by the rules of the order */
        uint64_t others;          /* by those of other orders */
        uint64_t second;          /* by the second lock */
};
enum trial_verdict {
        TRIAL_AS_ORDERED,
        TRIAL_WRONG,
        TRIAL_UNTRIED,   /* it never came to the rules, or something else refused it before */
        TRIAL_DISTURBED, /* more was counted than was sent: no count says anything about ours */
};
/* *RET_WHY (a constant) is a sentence's end after the address: "was let pass". */
enum trial_verdict trial_judge(const struct trial_datagram *d, const struct trial_outcome *o,
                               const char **ret_why);

#endif
