/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_BUS_ACCOUNT_H
#define LOCKDOWN_BUS_ACCOUNT_H

/* How much of the daemon's time each user takes up, and what is told of those who are refused. Pure. Times
 * are microseconds on one clock that only goes forward. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Users (uids) remembered at a time. */
#define ACCOUNTS_MAX 128
/* A user may take that much of the daemon's time at once, and 1/ACCOUNT_SHARE of it in the long run. */
#define ACCOUNT_BURST UINT64_C(50000)
#define ACCOUNT_SHARE 4
/* Nobody owes more than that, so that who has stopped asking too much is soon served again. */
#define ACCOUNT_DEBT_MAX UINT64_C(1000000)

struct account {
        uint32_t uid;
        uint64_t debt; /* time taken and not yet paid off, as of … */
        uint64_t as_of;
};
/* Zeroed: nobody owes anything. */
struct accounts {
        struct account items[ACCOUNTS_MAX];
        size_t n;
};

/* UID took COST. Of more users than there is room for, those who owe least are forgotten. */
void accounts_charge(struct accounts *a, uint32_t uid, uint64_t cost, uint64_t now);
/* How long UID has to wait before the next question; 0: not at all. */
uint64_t accounts_wait(const struct accounts *a, uint32_t uid, uint64_t now);

/* Refusals journalled one by one: of one user, and of all; within REFUSALS_PERIOD. */
#define REFUSALS_TOLD 20
#define REFUSALS_TOLD_IN_ALL 200
#define REFUSALS_PERIOD (60 * UINT64_C(1000000))

struct refusal {
        uint32_t uid;
        unsigned told;
        uint64_t more; /* that were not */
};
/* Of one period. Zeroed: nobody was refused. */
struct refusals {
        struct refusal items[ACCOUNTS_MAX];
        size_t n;
        unsigned told;
        uint64_t others; /* not told, of users for whom there was no place in the list */
};

/* UID was refused: is that to be told? Otherwise it is counted. */
bool refusals_tell(struct refusals *r, uint32_t uid);

#endif
