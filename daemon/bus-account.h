/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_BUS_ACCOUNT_H
#define LOCKDOWN_BUS_ACCOUNT_H

/* How much of the daemon's time each user takes up. Pure. Times are microseconds on one clock that only goes
 * forward. */

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

#endif
